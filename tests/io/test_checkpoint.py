"""Checkpoints: no load runs code, no write can be half there, and messages say what the file is and what to do."""

import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer as MMEngineHistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader
from mmengine.runner.checkpoint import load_checkpoint as mmengine_load
from torch import nn

import vislab.engine  # noqa: F401  (installs the loaders)
from vislab.engine.resume.latest import find_latest_checkpoint
from vislab.errors import CheckpointError
from vislab.io import checkpoint as checkpoint_module
from vislab.io.atomic import remove_leftovers
from vislab.io.checkpoint import load_checkpoint, save_checkpoint
from vislab.io.serialize import from_plain, to_plain
from vislab.io.weights import load_state


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = str(proof)

    def __reduce__(self):
        return os.mkdir, (self.proof,)


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


def test_every_scheme_of_mmengine_is_replaced():
    ours = {"vislab.engine.loaders", checkpoint_module.__name__}
    assert {loader.__module__ for loader in CheckpointLoader._schemes.values()} == ours
    with pytest.raises(CheckpointError, match="not supported"):
        CheckpointLoader.load_checkpoint("openmmlab://resnet50")


def test_http_downloads_are_loaded_without_code(tmp_path, monkeypatch):
    proof = tmp_path / "executed"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, path, **_: torch.save(Payload(proof), path))
    with pytest.raises(CheckpointError, match="run code"):
        CheckpointLoader.load_checkpoint("https://example.org/evil.pth")
    assert not proof.exists()


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
    with pytest.raises(CheckpointError, match="empty|truncated or damaged|no checkpoint but"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"loss: 0.1\nloss: 0.2\n", "text file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no checkpoint but something else"),
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


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "epoch_1.pth"
    save_checkpoint({"a": 1}, path)
    with pytest.raises(Exception, match="pickle"):
        save_checkpoint({"a": torch.zeros(100), "b": lambda: None}, path)
    assert load_checkpoint(path) == {"a": 1} and os.listdir(tmp_path) == ["epoch_1.pth"]


def test_full_disk_is_reported(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left.*untouched"):
        save_checkpoint({"a": 1}, tmp_path / "epoch_1.pth")
    assert os.listdir(tmp_path) == []


def test_rename_comes_after_the_data_is_on_disk(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (events.append("fsync"), fsync(f)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    save_checkpoint({"a": 1}, tmp_path / "epoch_1.pth")
    assert events == ["fsync", "replace", "fsync"]


def test_only_own_leftovers_are_removed(tmp_path):
    for name in ("epoch_1.pth.77.tmp", "last_checkpoint.77.tmp", "notes.tmp", "epoch_1.pth"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["epoch_1.pth", "notes.tmp"]


def test_without_a_pointer_latest_is_the_largest_complete_step(tmp_path):
    assert find_latest_checkpoint(tmp_path) is None
    for name in ("epoch_2.pth", "epoch_10.pth", "best_x_epoch_11.pth", "epoch_12_published.pth"):
        save_checkpoint({"state_dict": {"w": torch.zeros(9)}}, tmp_path / name)
    assert find_latest_checkpoint(tmp_path).name == "epoch_10.pth"
    (tmp_path / "epoch_11.pth").write_bytes((tmp_path / "epoch_10.pth").read_bytes()[:500])
    assert find_latest_checkpoint(tmp_path).name == "epoch_10.pth"
    save_checkpoint({"a": 1}, tmp_path / "iter_3.pth")  # a run by iterations, started later in the same folder
    os.utime(tmp_path / "epoch_10.pth", (0, 0)), os.utime(tmp_path / "epoch_2.pth", (0, 0))
    os.utime(tmp_path / "epoch_11.pth", (0, 0))
    assert find_latest_checkpoint(tmp_path).name == "iter_3.pth"


class Net(nn.Module):
    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 5), nn.Linear(5, classes)


def test_another_model_is_told_with_counts():
    with pytest.raises(
        CheckpointError, match=r"0 of the model's 4 weights(.|\n)*unknown to the model \(2\): weight, bias"
    ):
        load_state(Net(), {"state_dict": nn.Linear(2, 2).state_dict()}, "x.pth")
    with pytest.raises(CheckpointError, match=r"2 of the model's 4(.|\n)*of another shape \(2\): head.weight \(7x5 in"):
        load_state(Net(), {"state_dict": Net(7).state_dict()}, "x.pth")
    with pytest.raises(CheckpointError, match=r"missing in the file \(2\): head.weight, head.bias"):
        load_state(Net(), {"state_dict": {"body." + k: v for k, v in nn.Linear(4, 5).state_dict().items()}}, "x.pth")
    with pytest.raises(CheckpointError, match="no weights; its top-level keys are meta, config"):
        load_state(Net(), {"meta": 1, "config": 2}, "x.pth")


def test_nothing_is_changed_when_a_checkpoint_is_refused():
    model = Net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(CheckpointError):
        load_state(model, {"state_dict": Net(7).state_dict()})
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_partial_load_skips_other_shapes_but_never_everything():
    model, source = Net(), Net(7)
    report = load_state(model, source.state_dict(), partial=True)
    assert torch.equal(model.body.weight, source.body.weight)
    assert [m.split(" ")[0] for m in report.mismatched] == ["head.weight", "head.bias"]
    with pytest.raises(CheckpointError, match="another model"):
        load_state(Net(), nn.Conv2d(1, 1, 1).state_dict(), partial=True)


def test_names_of_wrapped_models_are_understood():
    source = Net()
    model = Net()
    load_state(model, {"model": {f"module.{k}": v for k, v in source.state_dict().items()}})
    assert torch.equal(model.head.bias, source.head.bias)


def test_plain_data_survives_the_round_trip(tmp_path):
    history = MMEngineHistoryBuffer([1.0, 2.5], [1, 2])
    metadata = OrderedDict(w=torch.ones(2))
    metadata._metadata = {"": {"version": 2}}
    content = {
        "loss": history,
        "scores": {"best": np.float32(0.5), "n": np.int64(3), 7: [np.bool_(True), (None, "x")]},
        "palette": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "names": np.array(["a", "bb"]),
        "path": Path("a/b"),
        "state": metadata,
    }
    save_checkpoint(to_plain(content), tmp_path / "x.pth")
    back = from_plain(load_checkpoint(tmp_path / "x.pth"))
    assert back["scores"] == {"best": 0.5, "n": 3, 7: [True, (None, "x")]}
    assert type(back["scores"]["best"]) is float and type(back["scores"]["n"]) is int
    assert back["palette"].dtype == np.uint8 and np.array_equal(back["palette"], content["palette"])
    assert np.array_equal(back["names"], content["names"]) and back["path"] == "a/b"
    assert back["loss"].data[0].tolist() == [1.0, 2.5] and back["loss"].data[1].tolist() == [1, 2]
    assert back["state"]._metadata == {"": {"version": 2}}


def test_what_cannot_be_plain_is_named_with_its_place():
    with pytest.raises(
        CheckpointError, match=re.escape("checkpoint['message_hub']['runtime_info']['model'][1]: it is a")
    ):
        to_plain({"message_hub": {"runtime_info": {"model": [0, object()]}}})
