"""Test tools/hnerv.py as a process: its commands, and one line with status 2 for each problem."""

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers import TOOLS
from tests.helpers.hnv import long_hnv, small_hnv
from tests.helpers.warm import run_warm
from vislab.systems.hnerv.codec import HnvDecoder


def run(*args, cwd: Path) -> subprocess.CompletedProcess:
    return run_warm([TOOLS / "hnerv.py", *args], cwd=cwd)


def test_decode_of_a_range_to_a_folder(tmp_path):
    path = long_hnv(tmp_path / "a.hnv")
    done = run("decode", "a.hnv", "images", "--frames", "4:6", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == "2 frames are in images\n", done.stderr
    with HnvDecoder(path) as decoder:
        for number, frame in zip((4, 5), decoder.decode([4, 5]), strict=True):
            image = cv2.imread(str(tmp_path / f"images/{number:05d}.png"))[..., ::-1]
            assert np.abs(image.astype(int) - frame).max() <= 1


def test_a_damaged_file_is_one_line_and_status_2(tmp_path):
    path = small_hnv(tmp_path / "a.hnv")
    data = bytearray(path.read_bytes())
    data[200] ^= 16
    path.write_bytes(data)
    done = run("decode", "a.hnv", "a.mp4", cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: a.hnv is not a valid .hnv file") and done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.hnv"]


def test_a_weight_without_a_task_is_refused(tmp_path):
    small_hnv(tmp_path / "a.hnv")
    done = run("encode", "a.hnv", "b.hnv", "--epochs", "3", "--task-weight", "0.1", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: --task-weight 0.1 is the weight of --task")
    assert [p.name for p in tmp_path.iterdir()] == ["a.hnv"]


@pytest.mark.slow
def test_info_verify_and_repack(tmp_path):
    path = small_hnv(tmp_path / "a.hnv", frames=20)
    assert f"{path.stat().st_size} bytes" in run("info", "a.hnv", cwd=tmp_path).stdout
    assert "all checksums are right" in run("verify", "a.hnv", cwd=tmp_path).stdout
    wanted = 0.9 * 8 * path.stat().st_size / (20 * 17 * 22)
    done = run("repack", "a.hnv", "b.hnv", "--bpp", wanted, cwd=tmp_path)
    assert done.returncode == 0 and 0.95 * wanted <= float(done.stdout.split()[1]) <= wanted
