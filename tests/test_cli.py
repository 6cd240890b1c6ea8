"""Test how tools end: one message and status 2 for user errors, a traceback for bugs."""

import argparse
import errno
import logging
import os
import re
import signal
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from vislab import cli
from vislab.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _process_settings(monkeypatch):
    """`run` changes the process, which ends with it; not here."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.delenv("VISLAB_TRACEBACK", raising=False)
    yield
    signal.signal(signal.SIGTERM, before)


def ended(main, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    return end.value.code, capsys.readouterr().err


def raising(error: BaseException):
    def main():
        raise error

    return main


class Dying(Dataset):
    """Its worker process is killed, as the kernel does when memory is out."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (DataError("label.png: broken"), "label.png: broken"),
        (OSError(errno.ENOSPC, "No space left on device", "run/log.txt"), "run/log.txt: No space left on device"),
        (FileExistsError(errno.EEXIST, "File exists", "a.png"), "a.png: File exists: a file lies where a folder is"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied"),
        (ImportError('Please run "pip install wandb" to install wandb'), "install it, or remove the part"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "lower train_dataloader.batch_size"),
        (MemoryError(), "lower the batch size"),
        (RuntimeError("The server socket has failed to listen: EADDRINUSE, address already in use"), "MASTER_PORT"),
    ],
)
def test_one_message_for_what_the_user_can_mend(error, message, capsys):
    status, text = ended(raising(error), capsys)
    assert status == 2 and text.startswith("error: ") and message.lower() in text.lower() and text.count("\n") == 1


def test_a_killed_loader_worker(capsys):
    status, text = ended(lambda: next(iter(DataLoader(Dying(), num_workers=1))), capsys)
    assert status == 2 and "DataLoader worker" in text and "lower num_workers" in text and "Traceback" not in text


def test_bugs_keep_their_traceback():
    for error in (ValueError("x"), RuntimeError("shapes differ"), FileNotFoundError(errno.ENOENT, "gone", "x")):
        with pytest.raises(type(error)):
            cli.run(raising(error))


def test_interrupts_say_how_to_go_on(capsys):
    assert ended(raising(KeyboardInterrupt()), capsys) == (130, "interrupted\n")
    assert ended(raising(KeyboardInterrupt("go on with: train --resume")), capsys) == (
        130, "interrupted\ngo on with: train --resume\n",
    )  # fmt: skip
    status, text = ended(lambda: os.kill(os.getpid(), signal.SIGTERM), capsys)
    assert (status, text) == (143, "terminated\n")


def test_a_reader_that_goes_away_is_no_error():
    code = "from vislab.cli import run; run(lambda: [print('x' * 1000) for _ in range(1000)] and None)"
    shell = f'"{sys.executable}" -c "{code}" | head -n 1'
    done = subprocess.run(shell, shell=True, capture_output=True, text=True)
    assert done.stdout == "x" * 1000 + "\n" and done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_output_to_a_full_disk_is_said():
    code = "from vislab.cli import run; run(lambda: print('x'))"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and "No space left" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/venv/bin/vislab", "vislab print-config"),
        ("/lib/vislab/__main__.py", "python -m vislab print-config"),
        ("tools/train.py", "python tools/print_config.py"),
        ("/usr/bin/pytest", "python tools/print_config.py"),
    ],
)
def test_other_commands_are_named_as_this_one_was_started(monkeypatch, program, expected):
    monkeypatch.setattr(sys, "argv", [program])
    assert cli.command("print-config") == expected


def test_numbers_of_flags_are_checked(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=cli.at_least(1))
    parser.add_argument("--seconds", type=cli.at_least(0, float))
    assert parser.parse_args(["--steps", "1", "--seconds", "0.5"]) == argparse.Namespace(steps=1, seconds=0.5)
    wrong = [("--steps", text) for text in ("0", "-3", "1.5", "x")]
    for flag, text in [*wrong, ("--seconds", "-1"), ("--seconds", "nan"), ("--seconds", "inf")]:
        with pytest.raises(SystemExit, match="2"):
            parser.parse_args([flag, text])
        assert re.search(rf"{flag}: expected a .*number of at least \d, got '{text}'", capsys.readouterr().err)


def test_the_error_of_a_model_names_the_shape():
    message = r"--shape 64: .* Input height \(64\) doesn't match model \(32\)\. Use"
    with pytest.raises(ConfigError, match=message), cli.explained_shape([64]):
        raise AssertionError("Input height (64) doesn't match model (32).")
    for shape, error in ((None, AssertionError("a bug")), ([64], torch.OutOfMemoryError("CUDA out of memory"))):
        with pytest.raises(type(error)), cli.explained_shape(shape):
            raise error
