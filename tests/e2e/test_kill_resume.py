"""Test that a run killed at random times and resumed ends with the same result as an uninterrupted run."""

import os
import subprocess
import sys

import pytest

from tests.helpers import HELPERS


@pytest.mark.parametrize(
    ("kills", "epochs"), [(3, 10), pytest.param(10, 24, marks=pytest.mark.slow)], ids=["three kills", "ten kills"]
)
def test_kill_and_resume(tmp_path, kills, epochs):
    done = subprocess.run(
        [
            sys.executable,
            str(HELPERS / "kill_resume.py"),
            str(HELPERS / "toy_config.py"),
            *("--kills", str(kills), "--work-dir", str(tmp_path)),
            *("--cfg-options", f"train_cfg.max_epochs={epochs}"),
        ],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    result = dict(pair.split("=") for pair in done.stdout.splitlines()[-1].split()[1:])
    assert int(result["kills"]) >= kills - 1 and result["equal"] == "True" and result["leftovers"] == "0"
    assert int(result["while_saving"]) >= 1
