"""Test that a name of the catalogue downloads, loads and predicts: plain addresses, and a local endpoint of the hub."""

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import hf_hub_download

from tests.helpers import REPOSITORY
from tests.helpers.files import random_image, save_image
from tests.helpers.local_hub import serving_hub
from tests.helpers.local_server import serving
from vislab.errors import ConfigError, DataError
from vislab.io.checkpoint import save_weights
from vislab.io.download import checksum
from vislab.zoo.catalogue import Entry, Weights, find_entry
from vislab.zoo.pretrained import download, hub_classes, load_pretrained, use_file


def entry(address: str, content: bytes, *, layout: str = "vislab") -> Entry:
    digest = hashlib.sha256(content).hexdigest()
    weights = Weights("", "", None, (f"{address}/gone.pth", f"{address}/a.pth"), digest, layout, "MIT")
    return Entry("small", "A", Path("small.py"), (), (weights,))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


@pytest.fixture
def content(model, tmp_path):
    torch.save(
        {"state_dict": model.state_dict(), "meta": {"dataset_meta": {"classes": ("a", "b")}}}, tmp_path / "a.pth"
    )
    return (tmp_path / "a.pth").read_bytes()


def test_the_second_address_is_tried_and_weights_are_loaded(model, content, tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    other = torch.nn.Linear(3, 2)
    with serving() as site:
        site.files["/a.pth"] = content
        assert load_pretrained(other, entry(site.address, content)) == {"classes": ("a", "b")}
        assert [path for path, _ in site.requests] == ["/gone.pth", "/a.pth"]
        download(entry(site.address, content))
        assert len(site.requests) == 2  # the file is there
    assert torch.equal(other.weight, model.weight)


def test_other_bytes_are_refused(model, content, tmp_path):
    with serving() as site:
        site.files["/a.pth"] = content[:-1] + b"?"
        with pytest.raises(DataError, match="SHA256"):
            download(entry(site.address, content), tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_wrong_file_in_the_place_of_a_known_one_is_refused(content, tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    known = entry("http://127.0.0.1:9", content)
    (tmp_path / "cache/small").mkdir(parents=True)
    (tmp_path / "cache/small/gone.pth").write_bytes(content[:-1] + b"?")
    with pytest.raises(DataError, match="is not the file of .*gone.pth: its SHA256"):
        download(known)
    (tmp_path / "cache/small/gone.pth").write_bytes(content)
    assert download(known).read_bytes() == content


@pytest.mark.parametrize("name", ["..%2f..%2fevil.pth", "..%5Cevil.pth", "%2Ftmp%2Fevil.pth", "a/../evil.pth"])
def test_names_that_lead_out_of_the_cache(content, tmp_path, name):
    with serving() as site:
        site.files[f"/{name}"] = content
        weights = dataclasses.replace(entry("", content).weights[0], url=(f"{site.address}/{name}",))
        file = download(dataclasses.replace(entry("", content), weights=(weights,)), tmp_path / "deep/cache")
    assert file == tmp_path / "deep/cache/small/evil.pth" and file.read_bytes() == content
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.pth", "evil.pth"]


def test_the_message_names_the_way_of_weights(content, tmp_path):
    with serving() as site, pytest.raises(DataError, match="vislab download small --from-file FILE") as found:
        download(entry(site.address, content), tmp_path)
    assert "--source" not in str(found.value)


def test_without_a_checksum_that_of_the_first_download_counts(content, tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    with serving() as site:
        site.files["/a.pth"] = content
        unknown = dataclasses.replace(entry(site.address, b""), weights=())
        unknown = dataclasses.replace(unknown, weights=(plain_weights(f"{site.address}/a.pth?raw=1"),))
        site.redirects["/a.pth?raw=1"] = "/a.pth"
        first = download(unknown)
        assert first.name == "a.pth" and first.read_bytes() == content
        download(unknown, tmp_path / "elsewhere")
        site.files["/a.pth"] = content[:-1] + b"?"
        assert download(unknown) == first  # what is there stays
        first.unlink()
        with pytest.raises(DataError, match="is not the expected file"):
            download(unknown)
        assert not first.exists()


def test_a_file_from_elsewhere_takes_its_place(model, content, tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    (tmp_path / "mine.pth").write_bytes(content)
    (tmp_path / "other.pth").write_bytes(content[:-1] + b"?")
    known = entry("http://127.0.0.1:9", content)
    with pytest.raises(DataError, match="VISLAB_OFFLINE is set"):
        download(known)
    with pytest.raises(DataError, match=r"not the file of small: its SHA256"):
        use_file(known, tmp_path / "other.pth")
    with pytest.raises(DataError, match="there is no file"):
        use_file(known, tmp_path / "none.pth")
    (tmp_path / "mine.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"expected one of gone\.pth"):
        use_file(known, tmp_path / "mine.pkl")
    assert use_file(known, tmp_path / "mine.pth") == download(known)
    other = torch.nn.Linear(3, 2)
    load_pretrained(other, known)
    assert torch.equal(other.weight, model.weight)


def test_a_file_of_the_hub_from_elsewhere(content, tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    hub = dataclasses.replace(entry("", b""), weights=(Weights("a/b", "", None, (), "", "hf", "MIT"),))
    assert use_file(hub, tmp_path / "pytorch_model.bin") == download(hub)
    (tmp_path / "pytorch_model.bin").write_bytes(content[:-1] + b"?")
    with pytest.raises(DataError, match="another file than at the first download"):
        use_file(hub, tmp_path / "pytorch_model.bin")


def test_class_names_of_the_hub_come_with_the_weights(content, tmp_path, monkeypatch):
    """Also by hand, for a computer without a network."""
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    hub = dataclasses.replace(entry("", b""), weights=(Weights("a/b", "deep/w.pth", None, (), "", "hf", "MIT"),))
    for name in ("deep/w.pth", "config.json"):
        (tmp_path / "hub/a/b" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hub/a/b" / name).write_bytes(content)
    with serving_hub(tmp_path / "hub") as address:
        monkeypatch.setattr(
            "vislab.zoo.pretrained.hf_hub_download",
            lambda *names, **settings: hf_hub_download(
                *names, endpoint=address, cache_dir=tmp_path / "home", **settings
            ),
        )
        given = download(hub, tmp_path / "D")
        assert given.name == "w.pth" and (tmp_path / "D/small/config.json").is_file()
        assert download(hub).name == "w.pth"
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    assert download(hub).is_relative_to(tmp_path / "home")
    shutil.rmtree(tmp_path / "home")
    with pytest.raises(DataError, match="cannot be reached.*vislab download small --from-file D/deep/w.pth"):
        download(hub)
    use_file(hub, given)
    assert (download(hub).with_name("config.json")).read_bytes() == content


def plain_weights(address: str) -> Weights:
    return Weights("", "", None, (address,), "", "vislab", "MIT")


def test_labels_of_the_hub(tmp_path):
    model = torch.nn.Linear(1, 1)
    model.num_classes = 3
    (tmp_path / "config.json").write_text('{"id2label": {"0": "N/A", "2": "N/A", "1": "cat"}}')
    assert hub_classes(model, tmp_path / "config.json") == {"classes": ("N/A (0)", "cat", "N/A (2)")}
    model.num_classes = 4
    assert hub_classes(model, tmp_path / "config.json") == {}
    (tmp_path / "config.json").write_text('{"id2label": {"x": 1}}')
    with pytest.raises(DataError, match="is damaged"):
        hub_classes(model, tmp_path / "config.json")


def test_an_entry_without_weights():
    with pytest.raises(ConfigError, match="no weights of small are published"):
        download(Entry("small", "A", Path("small.py"), (), ()))


def test_weights_of_this_project_by_name_from_a_file(model, tmp_path, monkeypatch):
    """There is no place where they are published: `vislab publish` makes the file, and --from-file takes it."""
    monkeypatch.setenv("VISLAB_CACHE", str(tmp_path / "cache"))
    own = Entry("small", "A", Path("small.py"), (), ())
    save_weights(model.state_dict(), tmp_path / "a.safetensors", {"dataset_meta": {"classes": ["a", "b"]}})
    digits = checksum(tmp_path / "a.safetensors")[:8]
    given = (tmp_path / "a.safetensors").rename(tmp_path / f"small-{digits}.safetensors")
    with pytest.raises(ConfigError, match="vislab download small --from-file FILE"):
        load_pretrained(model, own)
    with pytest.raises(DataError, match="expected a .safetensors file; `vislab publish` makes one"):
        use_file(own, Path(__file__))
    wrong = tmp_path / f"small-{'0' * 8}.safetensors"
    shutil.copy(given, wrong)
    with pytest.raises(DataError, match="is damaged: its SHA256 does not begin with 00000000"):
        use_file(own, wrong)
    assert use_file(own, given) == download(own) == tmp_path / "cache/small/small.safetensors"
    other = torch.nn.Linear(3, 2)
    assert load_pretrained(other, own)["classes"] == ["a", "b"]
    assert torch.equal(other.weight, model.weight)
    assert download(own, tmp_path / "D").read_bytes() == given.read_bytes()


def predict(*arguments: object, cwd: Path, home: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "vislab",
        "predict",
        *map(str, arguments),
    ]  # huggingface_hub reads its settings early
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HOME": str(home), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)


def test_without_a_network_there_is_one_message(tmp_path):
    save_image(tmp_path / "photo.png", random_image())
    done = predict(
        *("deformable_detr_r50_coco", "photo.png", "--out", "out", "--cfg-options", "model.encoder.num_layers=1"),
        cwd=tmp_path,
        home=tmp_path / "home",
        HF_HUB_OFFLINE="1",
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "hf download SenseTime/deformable-detr" in done.stderr


def test_errors_of_the_http_library_become_one_message(monkeypatch):
    class ProxyError(Exception):
        """As of httpx, which is no OSError."""

    def refuse(*_, **__):
        raise ProxyError("403 Forbidden")

    monkeypatch.setattr("vislab.zoo.pretrained.hf_hub_download", refuse)
    entry = find_entry("deformable_detr_r50_coco")
    with pytest.raises(DataError, match=r"ProxyError: 403 Forbidden\. Download it where.*--from-file"):
        download(entry)


def test_offline_holds_for_the_hub_of_timm_too():
    code = "import vislab, huggingface_hub.constants as c; print(c.is_offline_mode())"
    env = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"} | {"PYTHONPATH": str(REPOSITORY)}
    for value, expected in (("1", "True"), ("", "False")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**env, "VISLAB_OFFLINE": value}, capture_output=True, text=True
        )
        assert done.stdout.strip() == expected, done.stderr


@pytest.mark.peer
@pytest.mark.slow
def test_a_name_predicts_as_the_peer_does(tmp_path):
    """Random weights of the size of Swin-T, saved by transformers, through the hub, conversion and prediction."""
    pytest.importorskip("transformers")
    from tests.helpers.mask2former_peer import SWIN_T, build_peer

    peer = build_peer(SWIN_T).eval()
    repository = tmp_path / "hub/facebook/mask2former-swin-tiny-coco-panoptic"
    peer.config.id2label = {i: f"thing {i}" for i in range(133)}
    peer.save_pretrained(repository)
    img = random_image((96, 128))
    save_image(tmp_path / "photo.png", img)
    options = [
        "val_dataloader.dataset.pipeline.1.short_edge_length=96",
        "model.inference.score_threshold=0.0",
    ]
    with serving_hub(tmp_path / "hub") as address:
        done = predict(
            *("mask2former_swin_t_coco_panoptic", "photo.png", "--out", "out", "--cfg-options", *options),
            cwd=tmp_path,
            home=tmp_path / "home",
            HF_ENDPOINT=address,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/predictions.json").read_text())
    (file,) = (tmp_path / "home").rglob("model.safetensors")
    from vislab.apis.build import build_model
    from vislab.zoo import load_foreign

    ours = build_model("mask2former_swin_t_coco_panoptic", device="cpu")
    report = load_foreign(ours, file)
    assert not (report.missing or report.unexpected or report.mismatched)
    batch = ours.data_preprocessor({"inputs": [torch.from_numpy(img).permute(2, 0, 1)], "data_samples": None})
    with torch.no_grad():
        mine = ours.forward_tensor(batch["inputs"])
        theirs = peer(pixel_values=batch["inputs"])
    assert (mine["class_logits"] - theirs.class_queries_logits).abs().max() < 1e-3


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "repository", "variant"),
    [
        ("deformable_detr_r50_coco", "deformable-detr", "plain"),
        ("deformable_detr_refine_r50_coco", "deformable-detr-with-box-refine", "box_refine"),
        ("deformable_detr_two_stage_r50_coco", "deformable-detr-with-box-refine-two-stage", "two_stage"),
    ],
)
def test_detectors_and_files_of_torch(tmp_path, name, repository, variant):
    """91 classes with their names, from a repository that has a file of torch only."""
    pytest.importorskip("transformers")
    from tests.helpers.deformable_detr_peer import R50, build_peer

    peer = build_peer(R50, variant)
    peer.config.id2label = {i: f"thing {i}" for i in range(91)}
    folder = tmp_path / "hub/SenseTime" / repository
    peer.config.save_pretrained(folder)
    torch.save(peer.state_dict(), folder / "pytorch_model.bin")
    save_image(tmp_path / "photo.png", random_image((96, 128)))
    options = ["val_dataloader.dataset.pipeline.1.short_edge_length=96"]
    with serving_hub(tmp_path / "hub") as address:
        done = predict(
            *(name, "photo.png", "--out", "out", "--cfg-options", *options),
            cwd=tmp_path,
            home=tmp_path / "home",
            HF_ENDPOINT=address,
        )
    assert done.returncode == 0, done.stderr
    ((found,),) = json.loads((tmp_path / "out/predictions.json").read_text()).values()
    labels = [box["label"] for box in found["instances"]]
    assert labels and all(label["name"] == f"thing {label['id']}" for label in labels)
