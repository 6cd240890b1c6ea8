"""Test that all loading schemes of mmengine are replaced by loaders that execute no code."""

import io

import pytest
import torch
from mmengine.runner.checkpoint import CheckpointLoader

import vislab.engine  # noqa: F401  (installs the loaders)
from tests.helpers.files import Payload
from tests.helpers.local_server import serving
from vislab.engine import loaders
from vislab.errors import CheckpointError
from vislab.io import checkpoint as checkpoint_module


def test_every_scheme_of_mmengine_is_replaced():
    ours = {"vislab.engine.loaders", checkpoint_module.__name__}
    assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} == ours
    with pytest.raises(CheckpointError, match="not supported"):
        CheckpointLoader.load_checkpoint("openmmlab://resnet50")


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with serving() as site:
        yield site


def saved(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def test_http_downloads_are_loaded_without_code(site, tmp_path):
    proof = tmp_path / "executed"
    site.files["/evil.pth"] = saved(Payload(proof))
    with pytest.raises(CheckpointError, match="run code"):
        CheckpointLoader.load_checkpoint(f"{site.address}/evil.pth")
    assert not proof.exists()


def test_addresses_that_end_alike_are_different_files(site, monkeypatch):
    for number in (1, 2):
        site.files[f"/{number}/model.pth"] = saved({"w": torch.tensor(number)})
    for _ in range(2):
        for number in (1, 2):
            assert CheckpointLoader.load_checkpoint(f"{site.address}/{number}/model.pth")["w"] == number
    assert len(site.requests) == 2
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="VISLAB_OFFLINE is set.*use its path"):
        CheckpointLoader.load_checkpoint(f"{site.address}/3/model.pth")


def test_weights_of_torchvision_are_found_by_name(monkeypatch):
    asked = []
    monkeypatch.setattr(loaders, "load_from_http", lambda url, map_location: asked.append(url) or {"w": 1})
    monkeypatch.setattr(
        loaders, "get_torchvision_models", lambda: {"resnet18": "https://x/18", "resnet50": "https://x/50"}
    )
    for scheme in ("torchvision", "modelzoo"):
        assert CheckpointLoader.load_checkpoint(f"{scheme}://resnet50") == {"w": 1}
    assert asked == ["https://x/50"] * 2
    with pytest.raises(CheckpointError, match=r"no weights 'resnet5'.*'resnet50'"):
        CheckpointLoader.load_checkpoint("torchvision://resnet5")
