"""Test the command `vislab`: list of commands, names of shipped configs from any folder, messages."""

import os
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY, TOOLS
from tests.helpers.warm import run_warm
from vislab.__main__ import COMMANDS, overview, run_command


def vislab(*args: object, cwd) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "vislab", *map(str, args)]
    env = {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)


def test_each_command_has_its_script():
    assert {name.replace("-", "_") + ".py" for name in COMMANDS} == {path.name for path in TOOLS.glob("*.py")}


def test_the_list_names_each_command_with_a_sentence():
    lines = overview().splitlines()[3:]
    assert [line.split()[0] for line in lines] == COMMANDS
    assert all(line.endswith((".", ":")) and len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name, capsys):
    with pytest.raises(SystemExit, match="^0$"):
        run_command(name, ["--help"], prog=f"vislab {name}")
    text = capsys.readouterr().out
    assert text.startswith(f"usage: vislab {name}") and f"vislab {name}" in text.split("\n\n", 1)[1]


def test_help_is_quick(tmp_path):
    assert min(_cpu_seconds(lambda: vislab("predict", "--help", cwd=tmp_path)) for _ in range(2)) < 0.5


def _cpu_seconds(call) -> float:
    """The time of child processes, which does not depend on other processes."""
    before = os.times()
    assert call().returncode == 0
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_an_unknown_command(tmp_path):
    done = vislab("trian", cwd=tmp_path)
    assert done.returncode == 1 and "did you mean 'train'" in done.stderr and "Traceback" not in done.stderr


def test_a_shipped_config_by_its_name(tmp_path):
    done = run_warm(["-m", "vislab", "print-config", "hnerv_bunny_160x320_cpu"], cwd=tmp_path)
    assert done.returncode == 0 and "decoder_width" in done.stdout, done.stderr
    done = run_warm(["-m", "vislab", "print-config", "hnerv_buny_160x320_cpu"], cwd=tmp_path)
    assert done.returncode == 2 and "hnerv_bunny_160x320_cpu" in done.stderr
