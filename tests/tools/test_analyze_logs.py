"""Test that analyze_logs joins the parts of a resumed run and reads incomplete logs of killed runs."""

import argparse
import json
from pathlib import Path

import pytest

from vislab.commands import analyze_logs as logs
from vislab.errors import ConfigError, DataError


def write(run: Path, part: str, records: list[dict], tail: str = "") -> None:
    folder = run / part / "vis_data"
    folder.mkdir(parents=True)
    (folder / "scalars.json").write_text("\n".join(map(json.dumps, records)) + "\n" + tail)


def test_parts_are_joined_and_half_lines_skipped(tmp_path, capsys):
    write(tmp_path, "1", [{"loss": 4.0, "time": 0.2, "step": s} for s in (1, 2, 3)], tail='{"loss": 1.')
    write(tmp_path, "2", [{"loss": 2.0, "time": 0.1, "step": s} for s in (3, 4)])
    curves = logs.read_curves(tmp_path)
    assert curves["loss"] == [(1, 4.0), (2, 4.0), (3, 2.0), (4, 2.0)]  # step 3 was run again: the later one counts
    assert capsys.readouterr().err == ""
    table = logs.table({"a": curves}, ["loss"])
    assert "150.00" in table and "4          2" in table

    (tmp_path / "2" / "vis_data" / "scalars.json").write_text('{"loss": 1\n{"loss": 3.0, "step": 9}\n')
    assert logs.read_curves(tmp_path)["loss"][-1] == (9, 3.0)
    assert "line 1 is not JSON" in capsys.readouterr().err


def test_runs_without_a_log_are_named(tmp_path):
    with pytest.raises(DataError, match="contains no log"):
        logs.read_curves(tmp_path)
    write(tmp_path, "1", [])
    with pytest.raises(DataError, match="before its first log interval"):
        logs.read_curves(tmp_path)


def test_nan_and_single_runs(tmp_path):
    write(tmp_path, "1", [{"loss": float("nan"), "step": 1}, {"loss": 2.0, "step": 2}])
    curves = logs.read_curves(tmp_path / "1")
    assert logs.table({"a": curves}, ["loss"]).splitlines()[1].split()[:6] == ["a", "loss", "2", "2", "2", "2"]
    logs.draw({"a": curves}, ["loss"], tmp_path / "new" / "c.svg")
    assert (tmp_path / "new" / "c.svg").stat().st_size > 1000


def analyzed(*words: object) -> None:
    parser = argparse.ArgumentParser()
    logs.add_arguments(parser)
    logs.main(parser.parse_args([str(word) for word in words]))


def test_flags_that_cannot_be_followed(tmp_path, capsys):
    write(tmp_path, "1", [{"loss": 2.0, "step": 2}])
    with pytest.raises(DataError, match="no run has a value in --steps 100:"):
        analyzed(tmp_path, "--steps", "100:", "--keys", "loss")
    with pytest.raises(DataError, match="'2' is not of the form FROM:TO"):
        analyzed(tmp_path, "--steps", "2")
    for name in ("curves.xyz", "curves"):
        with pytest.raises(ConfigError, match="ends in .png or .svg or .pdf"):
            analyzed(tmp_path, "--out", tmp_path / name)
    assert capsys.readouterr().out == ""


def test_a_file_that_is_no_log_has_one_warning(tmp_path, capsys):
    (tmp_path / "a.png").write_text("x\n" * 500)
    with pytest.raises(DataError, match="log is empty"):
        analyzed(tmp_path / "a.png")
    assert capsys.readouterr().err.count("warning") == 1
