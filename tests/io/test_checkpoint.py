"""Test checkpoints: loads execute no code, writes are atomic, errors describe the file and the fix."""

import pickle

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.runner.checkpoint import load_checkpoint as mmengine_load
from torch import nn

import vislab.engine  # noqa: F401  (installs the loaders)
from tests.helpers.files import Payload
from vislab.errors import CheckpointError
from vislab.io.checkpoint import load_checkpoint, save_checkpoint, save_weights
from vislab.io.weights import load_state


@pytest.mark.parametrize("form", ["zip", "old", "bare pickle"])
def test_malicious_checkpoint_runs_nothing(tmp_path, form):
    proof, path = tmp_path / "executed", tmp_path / "evil.pth"
    content = {"state_dict": {"w": torch.zeros(1)}, "extra": Payload(proof)}
    if form == "bare pickle":
        path.write_bytes(pickle.dumps({"extra": Payload(proof)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    loaders = [
        lambda: load_checkpoint(path),
        lambda: mmengine_load(nn.Linear(1, 1), str(path)),
        lambda: CheckpointLoader.load_checkpoint(str(path)),
        lambda: Pretrained(str(path)).init_weights(),
    ]
    for load in loaders:
        with pytest.raises(CheckpointError, match="run code from the file") as error:
            load()
        assert not proof.exists()
        assert "evil.pth" in str(error.value) and "mkdir" in str(error.value)


class Pretrained(BaseModule):
    def __init__(self, path: str) -> None:
        super().__init__(init_cfg={"type": "Pretrained", "checkpoint": path})
        self.linear = nn.Linear(1, 1)


def test_missing_file_names_its_neighbors(tmp_path):
    for name in ("epoch_1.pth", "epoch_12.pth", "other.txt"):
        (tmp_path / name).touch()
    with pytest.raises(
        CheckpointError, match=r"epoch_13.pth does not exist. In the same folder: epoch_1.pth, epoch_12.pth"
    ):
        load_checkpoint(tmp_path / "epoch_13.pth")
    with pytest.raises(CheckpointError, match="folder .* does not exist either"):
        load_checkpoint(tmp_path / "nowhere/epoch_1.pth")
    with pytest.raises(CheckpointError, match="is a folder.*epoch_1.pth"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 60, 1000, -300, -1])
def test_truncated_file(tmp_path, kept):
    path = tmp_path / "epoch_1.pth"
    save_checkpoint({"state_dict": {"w": torch.randn(1000)}}, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="empty|truncated or damaged|not a checkpoint but"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"loss: 0.1\nloss: 0.2\n", "text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a checkpoint but something else"),
    ],
)
def test_not_a_checkpoint(tmp_path, content, message):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_checkpoint_that_is_no_dict(tmp_path):
    save_checkpoint([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="contains a list"):
        load_checkpoint(tmp_path / "list.pth")


def test_safetensors(tmp_path):
    from safetensors.torch import save_file

    model = nn.Linear(2, 3)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    load_state(nn.Linear(2, 3), load_checkpoint(tmp_path / "w.safetensors"))
    (tmp_path / "w.safetensors").write_bytes(b"\x00" * 50)
    with pytest.raises(CheckpointError, match="safetensors"):
        load_checkpoint(tmp_path / "w.safetensors")


def test_weights_with_facts_make_equal_files(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    weights, meta = {"a": shared.T, "b": shared}, {"dataset_meta": {"classes": ["x"], "palette": [[1, 2, 3]]}}
    for name in ("one", "two"):
        save_weights(weights, tmp_path / f"{name}.safetensors", meta)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    found = load_checkpoint(tmp_path / "one.safetensors")
    assert found["meta"] == meta and torch.equal(found["state_dict"]["a"], shared.T)
    content = (tmp_path / "one.safetensors").read_bytes()
    (tmp_path / "two.safetensors").write_bytes(content.replace(b'{\\"dataset', b'[\\"dataset'))
    with pytest.raises(CheckpointError, match="its entry 'vislab' is"):
        load_checkpoint(tmp_path / "two.safetensors")
