"""Test that a killed or failed process ends the run on all processes with one message, without loss of checkpoints."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from tests.helpers import HELPERS
from tests.helpers.processes import free_port, run

SCRIPT = HELPERS / "broken_process.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="gloo on the CPU is what these tests are about"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("broken")


@pytest.fixture(scope="module")
def ended(folder):
    found = json.loads(run(str(SCRIPT), str(folder)).splitlines()[-1])
    for end in found.values():
        lines = [text.splitlines() for text in end["printed"]]
        end["messages"] = [[line for line in own if "_NUM_THREADS" not in line and "warnings.warn" not in line]
                           for own in lines]  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("deed", "speaker", "message"),
    [
        ("killed", 0, "error: process 1 "),
        ("first killed", 1, "error: process 0 of 2 has ended without a message"),
        ("damaged image", 1, "error: broken.png cannot be decoded"),
        ("no metric", 0, "error: nothing to measure"),
    ],
)
def test_one_message_and_an_end(ended, deed, speaker, message):
    end = ended[deed]
    assert None not in end["codes"] and 0 not in end["codes"] and end["seconds"] < 20
    assert len(end["messages"][speaker]) == 1 and end["messages"][speaker][0].startswith(message)
    assert end["messages"][1 - speaker] == []


def test_a_bug_keeps_its_traceback(ended):
    end = ended["bug"]
    assert end["messages"][0] == [] and "KeyError: 'no such entry'" in end["messages"][1][-1]
    assert 0 not in end["codes"] and end["seconds"] < 20


def test_a_process_that_hangs_ends_the_run_after_the_timeout(ended):
    """It is alive, so only the timeout of the collective that the other one waits for can tell."""
    end = ended["slow"]
    assert end["codes"] == [1, 1] and end["seconds"] < 30
    assert "Timed out waiting 5000ms" in end["messages"][0][-1] and end["messages"][1] == []


def test_nothing_that_was_saved_is_lost(ended, folder, tmp_path):
    """The checkpoints of before are whole, and one process goes on from them."""
    from vislab.engine.resume.latest import find_latest_checkpoint
    from vislab.io.checkpoint import load_checkpoint

    for deed, end in ended.items():
        where = folder / deed.replace(" ", "_")
        assert end["checkpoints"] and str(find_latest_checkpoint(where)).endswith(end["checkpoints"][-1])
        for name in end["checkpoints"]:
            assert load_checkpoint(where / name)["meta"]["iter"] > 0
    shutil.copytree(folder / "killed", tmp_path / "run")
    from vislab import apis
    from vislab.engine.config.load import load_config

    cfg = load_config(HELPERS / "toy_config.py")
    cfg.custom_hooks, cfg.train_cfg.max_epochs = [], 3
    apis.train(cfg, work_dir=tmp_path / "run", resume=True)
    assert (tmp_path / "run/epoch_3.pth").exists()


def test_torchrun_sees_the_failure(tmp_path):
    """Under its agent the run ends too, with the message once."""
    port = free_port()
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]
    done = subprocess.run(
        [sys.executable, *command, str(SCRIPT), str(tmp_path), "--torchrun", "killed"],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode != 0
    assert done.stderr.count("has ended without a message") <= 1 and "exitcode  : -9" in done.stderr
