"""Runs a case through `apis.dry_run`, as `tools/train.py --check` does, in a process of its own.

A process because a case may crash, hang, or change what mmengine keeps for the whole process. It is forked from one
that has everything imported, and its limits are CPU seconds, clock seconds and memory.
"""

import copy
import json
import math
import os
import resource
import select
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
import torchvision
from mmengine.config import Config
from mmengine.registry import Registry

from tests.fuzz.planted.edits import Case, File, Flags, Options
from tests.helpers.small_configs import load_cifar_names, small, write_clip
from tests.helpers.standin_data import make_combined, make_pseudo, make_published, make_small
from vislab.apis import dry_run
from vislab.apis.build import checked
from vislab.apis.training import training_config
from vislab.cli import parse_cfg_options, remedy
from vislab.errors import VislabError

CONFIGS = Path(__file__).parents[3] / "configs"
CPU_SECONDS, CLOCK_SECONDS, MEMORY = 120, 300, 16 << 30


@dataclass(frozen=True)
class Outcome:
    """Outcome of a case.

    Args:
        how: refused (by the config check), before data (refused when something is built, but no dataset yet), late
            (refused after that), traceback, hang, silent, or passed (the check, and not tried further).
        text: The message.
        seconds: To the message.
    """

    how: str
    text: str
    seconds: float

    def names(self, case: Case) -> bool:
        """Whether the message says what a good one says."""
        text = self.text.lower()
        return all(any(word in text for word in name.lower().split("|")) for name in case.names)


class Bench:
    """A folder with made-up data and a copy of configs/, where cases are tried.

    Args:
        folder: An empty one; becomes the working folder of the tried processes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        make_small(folder / "small")
        make_published(folder / "data")
        make_pseudo(folder)
        make_combined(folder)
        write_clip(folder / "clip.avi")
        shutil.copytree(CONFIGS, folder / "configs")
        for path in (folder / "configs/hnerv").glob("*.py"):
            path.write_text(path.read_text().replace('source = "bunny"', 'source = "clip.avi"'))
        self._small: dict[str, dict] = {}

    def path(self, config: str) -> Path:
        return self.folder / "configs" / f"{config}.py"

    def small(self, config: str) -> dict:
        """A config as plain dicts, with small images and batches; loaded once."""
        if config not in self._small:
            self._small[config] = small(self.path(config))._cfg_dict.to_dict()
        return copy.deepcopy(self._small[config])

    def prepare(self, case: Case) -> tuple[Any, dict[str, Any]]:
        """The config (a path, or loaded) and the flags for `dry_run`."""
        path, edit = self.path(case.config), case.edit
        if isinstance(edit, Options):
            return path, {"cfg_options": parse_cfg_options(list(edit.words))}
        if isinstance(edit, Flags):
            return path, edit.values
        if isinstance(edit, File):
            return self.write(case.config, edit), {}
        plain = self.small(case.config)
        edit(plain)
        config = Config(plain)
        config.work_dir = plain.get("work_dir", "work_dirs/planted")
        return config, {}

    def write(self, config: str, file: File) -> Path:
        base = self.path(config)
        path = base.with_name(file.name)
        reads = f"from mmengine.config import read_base\n\nwith read_base():\n    from .{base.stem} import *\n\n"
        path.write_text(file.text if file.whole else reads + file.text)
        return path

    def try_all(self, cases: Sequence[Case], first_step: bool = True) -> list[Outcome]:
        """The outcome of each case; without `first_step` what the config check lets pass is not tried further.

        One process goes on to the next case as long as the config check refuses them; whatever gets further, or ends
        the process, is its last.
        """
        for config in {case.config for case in cases}:
            self.small(config)  # in this process, once for all
        found: list[Outcome] = []
        while len(found) < len(cases):
            reader, writer = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    os.close(reader)
                    self._work(cases[len(found) :], writer, first_step)
                finally:
                    os._exit(0)
            os.close(writer)
            before = len(found)
            with os.fdopen(reader, "rb", buffering=0) as stream:
                ended, lines = _read_lines(stream, CLOCK_SECONDS)
            found += [Outcome(*json.loads(line)) for line in lines]
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            last_finished = len(found) > before and found[-1].how not in ("refused", "passed")
            if not ended or (os.WIFSIGNALED(status) and not last_finished):
                hung = not ended or os.WTERMSIG(status) == signal.SIGXCPU
                found.append(Outcome("hang" if hung else "traceback", f"ended with status {status}", math.nan))
        return found

    def _work(self, cases: Sequence[Case], writer: int, first_step: bool) -> None:
        _prepare_process(self.folder)
        for case in cases:
            used = int(time.process_time())
            resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]))
            start = time.perf_counter()
            how, text = self._in_child(case, first_step)
            os.write(writer, json.dumps([how, text[:4000], time.perf_counter() - start]).encode() + b"\n")
            if how not in ("refused", "passed"):
                return

    def _in_child(self, case: Case, first_step: bool) -> tuple[str, str]:
        try:
            config, flags = self.prepare(case)
            checked(training_config(config, **flags))
        except VislabError as error:
            return "refused", str(error)
        except BaseException as error:
            told = remedy(error) if isinstance(error, Exception) else None
            return ("refused", told) if told else ("traceback", f"{type(error).__name__}: {error}")
        if not first_step:
            return "passed", ""
        touched: list[bool] = []
        _watch_datasets(touched)
        try:
            config, flags = self.prepare(case)
            dry_run(config, **flags)
        except BaseException as error:
            told = error if isinstance(error, VislabError) else remedy(error) if isinstance(error, Exception) else None
            return (
                ("traceback", f"{type(error).__name__}: {error}")
                if told is None
                else ("late" if touched else "before data", str(told))
            )
        return "silent", ""


def _watch_datasets(touched: list[bool]) -> None:
    """Notes when the first dataset is built."""
    build = Registry.build

    def noted(self: Registry, *args: Any, **kwargs: Any) -> Any:
        if self.name == "dataset":
            touched.append(True)
        return build(self, *args, **kwargs)

    Registry.build = noted


def _prepare_process(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    torch.set_num_threads(1)  # a pool of threads does not survive the fork
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.chdir(folder)
    os.environ["VISLAB_DATA"] = str(folder / "small")
    for kind in (torchvision.datasets.CIFAR10, torchvision.datasets.CIFAR100):
        kind._check_integrity = lambda self: True
    torchvision.datasets.CIFAR10._load_meta = load_cifar_names


def _read_lines(stream: IO[bytes], seconds: float) -> tuple[bool, list[bytes]]:
    """The lines of a pipe until it is closed (True), or until none comes for so many seconds (False)."""
    text = b""
    while select.select([stream], [], [], seconds)[0]:
        part = stream.read(1 << 16)
        if not part:
            return True, text.splitlines()
        text += part
    return False, text.splitlines()
