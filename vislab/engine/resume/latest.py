"""Find the checkpoint to resume from, to which the file `last_checkpoint` points.

`last_checkpoint` contains a path, of which only the file name is used, so that folders can be copied or moved. A new
run in a folder with checkpoints of another run updates it before the first step, since their step numbers may be
larger.
"""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from vislab.errors import CheckpointError
from vislab.io.checkpoint import check_readable, load_tensors

POINTER_NAME = "last_checkpoint"
_STEP_NAME = re.compile(r"(epoch|iter)_(\d+)\.pth")
_STARTED, _RESUMED = "no checkpoint yet", "no checkpoint yet; resumed from "


def step_checkpoints(folder: str | os.PathLike) -> list[tuple[str, int, Path]]:
    """Return (kind, step, path) of all files `epoch_N.pth` and `iter_N.pth` in `folder`."""
    found = []
    for path in Path(folder).glob("*.pth"):
        if match := _STEP_NAME.fullmatch(path.name):
            found.append((match.group(1), int(match.group(2)), path))
    return found


def starting_pointer(resumed_from: str | None = None) -> str:
    """Return the content of `last_checkpoint` before the first checkpoint of a run.

    Args:
        resumed_from: Checkpoint outside the folder that the run was resumed from, or None.
    """
    return _STARTED if resumed_from is None else _RESUMED + str(resumed_from)


def resumable_checkpoints(folder: str | os.PathLike) -> list[Path]:
    """Return candidates for `--resume`, best first; they may be damaged.

    The first one is that of `last_checkpoint`, followed by those with fewer steps. Without `last_checkpoint` the
    largest step comes first, of the kind (epoch or iter) that was written last.

    Raises:
        CheckpointError: The last run in this folder has no checkpoint, and those in the folder are of another run.
    """
    found = step_checkpoints(folder)
    pointer = Path(folder) / POINTER_NAME
    text = pointer.read_text(errors="replace").strip() if pointer.is_file() else ""
    if text.startswith(_RESUMED):
        raise CheckpointError(
            f"the run in {folder} was resumed from {text.removeprefix(_RESUMED)} and has saved no checkpoint since. "
            "Pass that file again: --resume CKPT."
        )
    if text == _STARTED:
        if not found:
            return []
        names = ", ".join(path.name for _, _, path in sorted(found, key=lambda f: f[1])[-3:])
        raise CheckpointError(
            f"the run that was started last in {folder} has saved no checkpoint; {names} belong to an earlier run. "
            "Pass a file to resume from it: --resume CKPT; omit --resume to start a new run."
        )
    if match := _STEP_NAME.fullmatch(Path(text.replace("\\", "/")).name):
        kind, step = match.group(1), int(match.group(2))
        earlier = sorted((s for k, s, _ in found if k == kind and s <= step), reverse=True)
        return [Path(folder) / f"{kind}_{s}.pth" for s in earlier]
    written = {kind: max(p.stat().st_mtime_ns for k, _, p in found if k == kind) for kind in {k for k, _, _ in found}}
    return [path for _, _, path in sorted(found, key=lambda f: (written[f[0]], f[1]), reverse=True)]


def find_latest_checkpoint(folder: str | os.PathLike, read: Callable[[Path], Any] | None = None) -> Path | None:
    """Return the latest complete checkpoint of the run in `folder`, or None. Damaged ones are skipped with a warning.

    Args:
        folder: A work folder.
        read: Raises CheckpointError for a damaged file. Default: only the structure of the file is read.

    Raises:
        CheckpointError: The last run in this folder has no checkpoint; see `resumable_checkpoints`.
    """
    for path in resumable_checkpoints(folder):
        try:
            (read or _read_structure)(path)
        except CheckpointError as error:
            print_log(f"skipped a checkpoint: {error}", logger="current", level=logging.WARNING)
        else:
            return path
    return None


def _read_structure(path: Path) -> None:
    check_readable(path)
    load_tensors(path, "cpu", mmap=True)  # reads the directory at the end of the file
