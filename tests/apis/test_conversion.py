"""Test conversion of weights of other projects and published files: exact or refused, equal outputs, equal bytes."""

import hashlib
import json

import pytest
import torch
import yaml

from tests.helpers import CONFIGS
from tests.helpers.mask2former_names import SWIN, official_name, same_weights, small_model
from vislab.apis import build_model, load
from vislab.apis.conversion import convert, publish
from vislab.errors import CheckpointError, ConfigError
from vislab.io.checkpoint import load_checkpoint, save_checkpoint, save_weights

CONFIG = """from vislab.models.mask2former import Mask2Former

model = dict(
    type=Mask2Former,
    backbone={swin},
    num_classes=3,
    num_queries=4,
    pixel_decoder=dict(dim=32, mask_dim=32, num_heads=4, ffn_dim=32, num_layers=2),
    decoder=dict(dim=32, mask_dim=32, num_heads=4, ffn_dim=32, num_layers=2),
)
"""


@pytest.fixture
def place(tmp_path):
    """A folder with a config, and with official weights, as pickled arrays would hold, and class names."""
    (tmp_path / "small.py").write_text(CONFIG.format(swin=repr(SWIN)))
    state = {official_name(name): value for name, value in small_model().state_dict().items()}
    torch.save({"model": state}, tmp_path / "official.pth")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a", "1": "N/A", "2": "N/A"}}))
    return tmp_path


def test_converted_weights_are_those_of_the_source(place):
    report = convert(place / "official.pth", place / "ours.safetensors", place / "small.py")
    assert report.layout == "official" and str(report).startswith("official: ")
    assert same_weights(build_model(place / "small.py", place / "ours.safetensors", "cpu"), small_model())
    assert load_checkpoint(place / "ours.safetensors")["meta"]["dataset_meta"]["classes"] == ["a", "N/A (1)", "N/A (2)"]


def test_what_does_not_fit_is_refused_or_written_in_part(place):
    out, options = place / "ours.safetensors", {"model.num_classes": 5}
    with pytest.raises(CheckpointError, match=r"nothing was written: .*class_embed.weight is \(4, 32\) there and \(6"):
        convert(place / "official.pth", out, place / "small.py", cfg_options=options)
    with pytest.raises(ConfigError, match=r"name it \*\.safetensors"):
        convert(place / "official.pth", place / "ours.pth", place / "small.py")
    assert not out.exists()
    report = convert(place / "official.pth", out, place / "small.py", cfg_options=options, partial=True)
    names = set(load_checkpoint(out)["state_dict"])
    assert names == set(report.loaded) and "decoder.class_embed.weight" not in names


def test_the_source_is_not_replaced(place):
    """Converted files and published ones may have the names that others give to theirs."""
    state = {official_name(name): value for name, value in small_model().state_dict().items()}
    source = place / "model.safetensors"
    save_weights(state, source, {})
    for given in (source, place):
        with pytest.raises(ConfigError, match="model.safetensors is the source itself"):
            convert(given, source, place / "small.py")
    assert load_checkpoint(source)["state_dict"].keys() == state.keys()
    save_weights(small_model().state_dict(), place / "small.safetensors", {})
    before = (place / "small.safetensors").read_bytes()
    publish(place / "small.safetensors", place / "small.py", place)
    assert (place / "small.safetensors").read_bytes() == before and not [*place.glob(".*")]


def test_an_existing_file_is_replaced_only_by_a_complete_one(place):
    (place / "ours.safetensors").write_bytes(b"before")
    with pytest.raises(CheckpointError, match="nothing was written"):
        convert(place / "official.pth", place / "ours.safetensors", place / "small.py", layout="mmdet")
    assert (place / "ours.safetensors").read_bytes() == b"before"
    convert(place / "official.pth", place / "ours.safetensors", place / "small.py")
    assert load_checkpoint(place / "ours.safetensors")["state_dict"]


def test_a_published_file(place):
    model = small_model()
    save_checkpoint(
        {
            "state_dict": model.state_dict(),
            "optimizer": {"state": {0: torch.ones(1000)}},
            "meta": {"epoch": 1, "cfg": "x", "dataset_meta": {"classes": ("a", "b", "c"), "other": {1: 2}}},
        },
        place / "epoch_1.pth",
    )
    report = {"metrics": {"PQ": 51.23456, "text": "x"}, "checkpoint": "work/epoch_1.pth"}
    (place / "metrics.json").write_text(json.dumps(report))
    url = "https://example.org/files/"
    path, text = publish(place / "epoch_1.pth", place / "small.py", place / "out", url=url, license="MIT")
    again, _ = publish(place / "epoch_1.pth", place / "small.py", place / "again")
    assert path.read_bytes() == again.read_bytes()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f"small-{digest[:8]}.safetensors"
    assert (place / "out/small.yml").read_text() == text
    (entry,) = yaml.safe_load(text)
    assert entry["Weights"] == [
        {
            "URL": f"https://example.org/files/{path.name}",
            "SHA256": digest,
            "Size": path.stat().st_size,
            "License": "MIT",
            "Layout": "vislab",
        }
    ]
    assert entry["Results"] == [{"Task": "?", "Dataset": "?", "Metrics": {"PQ": 51.2346}, "Source": "here"}]
    content = load_checkpoint(path)
    assert content["meta"] == {"dataset_meta": {"classes": ["a", "b", "c"]}}
    assert same_weights(build_model(place / "small.py", path, "cpu"), model)


@pytest.mark.parametrize("flags", [{"name": "a/b"}, {"name": "my model"}, {"name": ""}, {"url": "ftp:/x"}])
def test_names_and_addresses_that_cannot_be_published(place, flags):
    with pytest.raises(ConfigError, match=next(iter(flags))):
        publish("missing.pth", "missing.py", place / "not_made", **flags)
    assert not (place / "not_made").exists()


def test_weights_that_are_not_finite_are_not_published(place):
    model = small_model()
    model.decoder.norm.weight.data[0] = torch.nan
    save_checkpoint({"state_dict": model.state_dict()}, place / "epoch_2.pth")
    with pytest.raises(CheckpointError, match="not published: 1 of its weights"):
        publish(place / "epoch_2.pth", place / "small.py", place / "out")


def test_a_shipped_config_by_name_and_the_encoder_alone(tmp_path):
    name = "cae_vit_cifar10_norm_pixel_cpu"
    model = build_model(load(CONFIGS / f"cae/{name}.py"), device="cpu")
    save_checkpoint({"state_dict": model.state_dict()}, tmp_path / "whole.pth")
    report = convert(tmp_path / "whole.pth", tmp_path / "encoder.safetensors", name, part="encoder")
    written = load_checkpoint(tmp_path / "encoder.safetensors")["state_dict"]
    assert report.layout == "vislab" and all(key.startswith("encoder.") for key in written)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in written.items())
