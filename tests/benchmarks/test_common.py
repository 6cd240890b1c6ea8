"""Test the shared code of the benchmark scripts."""

import importlib.util
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))  # as for a script
spec = importlib.util.spec_from_file_location("_common", Path(__file__).parents[2] / "benchmarks" / "_common.py")
common = importlib.util.module_from_spec(spec)
spec.loader.exec_module(common)


def test_interleave_calls_in_turn_and_times_each():
    calls = []
    times = common.interleave(
        {"slow": lambda: (calls.append("slow"), time.sleep(0.01)), "fast": lambda: calls.append("fast")},
        pairs=3,
        warmup=1,
    )
    assert calls == ["slow", "fast"] + ["slow", "fast", "fast", "slow", "slow", "fast"]
    assert [len(times[n][k]) for n in times for k in ("wall", "cpu")] == [3] * 4
    assert common.ratio(times["slow"]["wall"], times["fast"]["wall"]) > 2
    assert min(times["slow"]["wall"]) >= 0.01 > max(times["slow"]["cpu"])  # sleeping costs wall time only


def test_ratio_and_spread_of_medians():
    assert common.ratio([1, 2, 100], [4, 4, 4]) == 0.5
    assert common.spread([2.0, 2.0, 2.0]) == 0
    assert common.spread([1.0, 2.0, 3.0]) == pytest.approx(0.25)


def test_peak_rss_is_the_childs_and_failures_speak():
    small = common.peak_rss([sys.executable, "-c", "pass"])
    big = common.peak_rss([sys.executable, "-c", "x = bytearray(80 * 2**20)"])
    assert 2 < small < 60 and 60 < big - small < 120
    with pytest.raises(RuntimeError, match="status 3: .*because"):
        common.peak_rss([sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)"])


def test_table_record_and_result_line(tmp_path, capsys, monkeypatch):
    times = {"wall": [0.010, 0.012, 0.011], "cpu": [0.02, 0.02, 0.02]}
    rows = [common.timing_row("bare", times), common.timing_row("ours", times, base=times)]
    table = common.print_table(rows)
    assert "| ours | 11.00   | 20.00  | " in table and "| 1.000      | 1.000     |" in table
    monkeypatch.setattr(sys, "argv", ["benchmarks/demo.py", "--quick", "--threads", "2"])
    for quick, value in ((True, 3.0), (False, 2.0), (False, 1.23456)):
        common.record(table, quick=quick, path=tmp_path / "results.jsonl")
        common.result(ratio=value, parity="ok", n=3)
    assert capsys.readouterr().out.splitlines()[-1] == "RESULT ratio=1.235 parity=ok n=3"
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.count("## demo (quick, --threads 2)") == text.count("## demo (full, --threads 2)") == 1
    assert "ratio 1.235, parity ok, n 3" in text and "ratio 2," not in text and "load" in text
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 3
    with pytest.raises(ValueError, match="space"):
        common.result(note="two words")


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--quick", "--data", "camvid", "--no-record"], "--data camvid"),
        (["--rows", "/home/me/rows.json", "--threads", "2"], "--threads 2"),
        (["--rows=/home/me/rows.json", "--only", "a", "b"], "--only a b"),
        (["/home/me/film.avi"], ""),
    ],
)
def test_places_on_this_computer_are_not_recorded(words, options):
    assert common._public_options(words) == options


def test_a_script_without_its_peer_is_skipped(capsys):
    with pytest.raises(SystemExit) as left:
        common.skip("the peer: pip install it")
    assert left.value.code == 0
    assert capsys.readouterr().out == "skipped: the peer: pip install it\nRESULT skipped=1\n"
