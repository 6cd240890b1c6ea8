"""Run a script in one process or in a gloo group of two, for tests that compare the two."""

import os
import socket
import subprocess
import sys
from pathlib import Path


def run(*command: str) -> str:
    """Return what `python COMMAND` prints; one thread per process.

    Raises:
        AssertionError: it failed; its last error lines are in the message.
    """
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def run_two(script: Path, *arguments: str) -> str:
    """Return what both processes of `script ARGUMENTS --launcher pytorch` print."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", free_port()]
    return run(*launcher, str(script), *arguments, "--launcher", "pytorch")


def free_port() -> str:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])
