"""Test `vislab export-encoder`: from a checkpoint to a file that TimmEncoder and timm load, and its messages."""

from argparse import Namespace
from pathlib import Path

import pytest
import timm
import torch

from tests.helpers import CONFIGS
from vislab.apis.build import build_model, load
from vislab.commands import export_encoder as tool
from vislab.errors import CheckpointError, ConfigError
from vislab.models.encoders.timm_encoder import TimmEncoder

CONFIG = CONFIGS / "cae/cae_vit_cifar10_norm_pixel_cpu.py"


def export(checkpoint: Path, out: Path, *, options: tuple = (), config: Path = CONFIG) -> None:
    given = {"config": str(config), "checkpoint": str(checkpoint), "out": str(out), "cfg_options": list(options)}
    tool.main(Namespace(**given, fold=False, pool="token"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The model of the config and a checkpoint of it."""
    path = tmp_path_factory.mktemp("export") / "epoch_15.pth"
    torch.manual_seed(0)
    cae = build_model(load(CONFIG), device="cpu").eval()
    torch.save({"state_dict": cae.state_dict(), "meta": {"epoch": 15}}, path)
    return cae, path


def test_the_printed_calls_work(model, tmp_path, capsys):
    cae, path = model
    export(path, tmp_path / "encoder.safetensors")
    lines = capsys.readouterr().out.splitlines()
    assert "65 tensors loaded; 43 ignored: regressor (24), decoder (19)" in lines[0]
    calls = {line.split("(")[0]: line for line in lines}
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        found = eval(calls["timm.create_model"], {"timm": timm}).eval().forward_features(images)
        torch.testing.assert_close(found, cae.encoder(images), rtol=0, atol=1e-5)
    encoder = eval(calls["TimmEncoder"], {"TimmEncoder": TimmEncoder})
    assert encoder.channels == (128,) * 4 and encoder.mean == (0.4914, 0.4822, 0.4465)


def test_messages(model, tmp_path):
    with pytest.raises(ConfigError, match="epoch_15.pth is the source itself"):
        export(model[1], model[1])
    _, path = model
    with pytest.raises(ConfigError, match=r"name it \*.safetensors"):
        export(path, tmp_path / "encoder.pth")
    with pytest.raises(CheckpointError, match="does not hold the encoder of this model: .*blocks.4"):
        export(path, tmp_path / "encoder.safetensors", options=("model.encoder.depth=5",))
    other = CONFIGS / "tract/cifar10_subset_vit_adam_cpu_plain.py"
    with pytest.raises(ConfigError, match="no model with a ViT as `encoder`, but ImageClassifier"):
        export(path, tmp_path / "encoder.safetensors", config=other)
    assert not list(tmp_path.iterdir())
