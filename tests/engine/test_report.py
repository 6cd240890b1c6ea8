"""Test metrics.json: training results are kept by a test, and times include earlier parts of the run."""

import json
import shlex
from types import SimpleNamespace

import numpy as np
import torch
from mmengine.config import Config

from tests.helpers.toy_run import Killed, make_runner, stop_at
from vislab.engine.report import closing_lines, write_details, write_metrics
from vislab.evaluation.details import Details
from vislab.io.checkpoint import load_checkpoint, save_checkpoint


def read(folder) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def write(folder, score: float, *, test: bool, checkpoint: str = "a.pth") -> None:
    write_metrics(
        folder / "metrics.json", {"score": torch.tensor(score)}, config="c.py", checkpoint=checkpoint, seconds=1.23456,
        test=test,
    )  # fmt: skip


def test_a_test_does_not_replace_the_training(tmp_path):
    write(tmp_path, 0.5, test=False)
    trained = read(tmp_path)
    assert trained == {"metrics": {"score": 0.5}, "config": "c.py", "checkpoint": "a.pth", "seconds": 1.235}
    write(tmp_path, 0.25, test=True, checkpoint="b.pth")
    write(tmp_path, 0.75, test=True)
    report = read(tmp_path)
    assert {key: report[key] for key in trained} == trained
    assert [entry["metrics"]["score"] for entry in report["tests"]] == [0.25, 0.75]
    assert report["tests"][0]["checkpoint"] == "b.pth" and "time" in report["tests"][0]
    write(tmp_path, 0.125, test=False)  # trained further
    assert read(tmp_path)["metrics"] == {"score": 0.125} and len(read(tmp_path)["tests"]) == 2


def test_a_folder_of_tests_shows_the_last(tmp_path):
    write(tmp_path, 0.25, test=True)
    write(tmp_path, 0.5, test=True)
    assert read(tmp_path)["metrics"] == {"score": 0.5} and len(read(tmp_path)["tests"]) == 2


def test_an_unreadable_file_is_put_aside(tmp_path):
    (tmp_path / "metrics.json").write_text('{"metrics": ')
    write(tmp_path, 0.5, test=True)
    assert read(tmp_path)["metrics"] == {"score": 0.5}
    assert (tmp_path / "metrics.json.unreadable").read_text() == '{"metrics": '


def test_seconds_are_of_all_parts(tmp_path):
    first = make_runner(tmp_path, total=3)
    stop_at(first, 7)
    try:
        first.train()
    except Killed:
        path = tmp_path / "epoch_1.pth"
    checkpoint = load_checkpoint(path)
    assert 0 < checkpoint["meta"]["seconds"] < 60
    checkpoint["meta"]["seconds"] = 1000.0
    save_checkpoint(checkpoint, path)
    make_runner(tmp_path, total=3, resume=True).train()
    assert 1000 < read(tmp_path)["seconds"] < 1060
    assert load_checkpoint(tmp_path / "epoch_3.pth")["meta"]["seconds"] > 1000


def test_details_have_the_environment_and_what_metrics_keep(tmp_path):
    with_details = SimpleNamespace(details=Details(metric="M", classes=[{"class": "a", "AP": np.float32(1)}]))
    write_details(tmp_path / "details.json", [with_details, object()], test=True)
    content = json.loads((tmp_path / "details.json").read_text())
    assert content["split"] == "test" and content["environment"]["torch"] == torch.__version__
    assert [entry["metric"] for entry in content["evaluation"]] == ["M"]
    assert content["evaluation"][0]["classes"] == [{"class": "a", "AP": 1.0}]


def test_the_next_command_can_be_copied(tmp_path):
    (tmp_path / "it's mine.py").write_text("val_dataloader = dict(batch_size=1)")
    cfg = Config.fromfile(tmp_path / "it's mine.py")
    last = closing_lines(tmp_path / "my runs/metrics.json", tmp_path, cfg, "my runs/a.pth").splitlines()[-1]
    words = shlex.split(last)
    assert words[-4:] == [f"{tmp_path}/it's mine.py", "my runs/a.pth", "--show-dir", f"{tmp_path}/my runs/pictures"]
