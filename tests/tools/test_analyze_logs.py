"""Test that analyze_logs joins the parts of a resumed run and reads incomplete logs of killed runs."""

import json
from pathlib import Path

import pytest

from vislab.commands import analyze_logs as logs
from vislab.errors import DataError


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
