"""Test trackers of experiments: added once, one message without the package, and with the real packages offline."""

import sys
import time
from unittest import mock

import numpy as np
import pytest
from mmengine.config import Config

from vislab.errors import ConfigError
from vislab.registry import VISBACKENDS
from vislab.visualization import trackers
from vislab.visualization.trackers import add_tracker

CONFIG = {"model": {"type": "Toy", "sizes": [1, 2]}, "many": {f"key_{i}": i for i in range(150)}, "long": "x" * 9000}


def kinds(visualizer: dict) -> list[str]:
    return [str(backend["type"]).rpartition(".")[2] for backend in visualizer["vis_backends"]]


def test_a_tracker_is_added_once(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    found = add_tracker({"type": "Visualizer"}, "wandb")
    assert kinds(found) == ["LocalVisBackend", "WandbBackend"]
    assert kinds(add_tracker(found, "wandb")) == kinds(found)
    own = {"type": "Visualizer", "vis_backends": [{"type": "TensorboardVisBackend"}, {"type": "MLflowVisBackend"}]}
    assert kinds(add_tracker(add_tracker(own, "tensorboard"), "mlflow")) == kinds(own)
    for backend in add_tracker(add_tracker(found, "mlflow"), "tensorboard")["vis_backends"]:
        VISBACKENDS.build({**backend, "save_dir": "unused"})  # opened at the first value


def test_messages(monkeypatch):
    with pytest.raises(ConfigError, match="log='wand' is not one of tensorboard, wandb, mlflow"):
        add_tracker({}, "wand")
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="the package mlflow is not installed: pip install mlflow"):
        add_tracker({}, "mlflow")


def send(tracker, folder) -> None:
    """Two steps, a validation and an image, as a run sends them."""
    tracker.add_config(Config(CONFIG))
    for step in (10, 20):
        tracker.add_scalars({"loss": 1 / step, "lr": np.float32(0.1), "text": "x"}, step=step)
    tracker.add_scalar("val/psnr", 30.5, step=2)
    tracker.add_image("val/img_0", np.full((8, 8, 3), 90, np.uint8), step=2)
    tracker.close()


def history(content: bytes) -> list[dict[str, str]]:
    """The rows of values in a file of an offline run, which is a log of LevelDB with a header of 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, place, data = [], 7, b""
    while place + 7 < len(content):
        if _BLOCK - place % _BLOCK < 7:  # too short for the head of a record
            place += _BLOCK - place % _BLOCK
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        data += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record, data = Record.FromString(data), b""
            rows.append({(item.key or item.nested_key[0]): item.value_json for item in record.history.item})
    return rows


_BLOCK = 1 << 15


@pytest.mark.parametrize(
    ("variables", "mode"),
    [({"VISLAB_OFFLINE": "1"}, "offline"), ({"VISLAB_OFFLINE": "1", "WANDB_MODE": "disabled"}, None), ({}, None)],
)
def test_vislab_offline_holds_for_wandb(tmp_path, monkeypatch, variables, mode):
    clear_variables(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(trackers, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "wandb", wandb := mock.MagicMock())
    trackers.WandbBackend(save_dir=str(tmp_path)).add_scalar("loss", 1.0)
    assert wandb.init.call_args.kwargs.get("mode") == mode


def clear_variables(monkeypatch) -> None:
    for name in ("WANDB_MODE", "VISLAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.peer
@pytest.mark.parametrize(("variable", "value"), [("WANDB_MODE", "offline"), ("VISLAB_OFFLINE", "1")])
def test_wandb_offline(tmp_path, monkeypatch, variable, value):
    pytest.importorskip("wandb")
    clear_variables(monkeypatch)
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.py").write_text("password = 1")
    send(trackers.WandbBackend(save_dir=str(tmp_path / "vis")), tmp_path)
    (file,) = (tmp_path / "vis").rglob("*.wandb")
    until = time.monotonic() + 30
    while len(rows := history(file.read_bytes())) < 4 and time.monotonic() < until:  # written by another process
        time.sleep(0.1)
    assert [(row["step"], row["loss"]) for row in rows if "loss" in row] == [("10", "0.1"), ("20", "0.05")]
    assert [row["step"] for row in rows if "val/psnr" in row] == ["2"]
    assert not list((tmp_path / "vis").rglob("secret.py"))


@pytest.mark.peer
def test_mlflow_in_a_local_database(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    send(trackers.MLflowBackend(save_dir=str(tmp_path / "vis")), tmp_path)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/vis/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("vislab").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["model.type"] == "Toy"
    assert run.data.params["many.key_149"] == "149"
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")] == [(10, 0.1), (20, 0.05)]
    assert "text" not in run.data.metrics and run.data.metrics["val/psnr"] == 30.5
    assert list((tmp_path / "vis/mlartifacts").rglob("*.png")) and not (tmp_path / "mlruns").exists()
