"""Which checkpoint a folder's run goes on from: the one that `last_checkpoint` points at.

The pointer is the text of a path, of which only the file name counts, so that a folder can be copied or moved. A new
run in a folder that contains another's checkpoints says so in the pointer before its first step: their step numbers may
be larger than its own.
"""

import os
import re
from pathlib import Path

from mmengine.logging import print_log

from vislab.errors import CheckpointError
from vislab.io.checkpoint import check_readable, load_tensors

POINTER_NAME = "last_checkpoint"
_STEP_NAME = re.compile(r"(epoch|iter)_(\d+)\.pth")
_STARTED, _RESUMED = "no checkpoint yet", "no checkpoint yet; resumed from "


def step_checkpoints(folder: str | os.PathLike) -> list[tuple[str, int, Path]]:
    """(kind, step, path) of all files `epoch_N.pth` and `iter_N.pth` in `folder`."""
    found = []
    for path in Path(folder).glob("*.pth"):
        if match := _STEP_NAME.fullmatch(path.name):
            found.append((match.group(1), int(match.group(2)), path))
    return found


def starting_pointer(resumed_from: str | None = None) -> str:
    """The pointer's text between a run's start and its first checkpoint.

    Args:
        resumed_from: A checkpoint outside the folder that the run went on from; None for a run from the beginning.
    """
    return _STARTED if resumed_from is None else _RESUMED + str(resumed_from)


def resumable_checkpoints(folder: str | os.PathLike) -> list[Path]:
    """The checkpoints to try for `--resume`, best first; they may turn out to be damaged.

    The one that the pointer names comes first, then those of fewer steps. Without a pointer (folders of other tools, or
    of which only some files were copied) the largest step comes first, of the kind that was written last.

    Raises:
        CheckpointError: the run that started last in this folder has saved nothing, and the checkpoints there belong to
            another one.
    """
    found = step_checkpoints(folder)
    pointer = Path(folder) / POINTER_NAME
    text = pointer.read_text(errors="replace").strip() if pointer.is_file() else ""
    if text.startswith(_RESUMED):
        raise CheckpointError(
            f"the run in {folder} went on from {text.removeprefix(_RESUMED)} and has saved nothing since. "
            "Give that file again: --resume CKPT."
        )
    if text == _STARTED:
        if not found:
            return []
        names = ", ".join(path.name for _, _, path in sorted(found, key=lambda f: f[1])[-3:])
        raise CheckpointError(
            f"the run that was started last in {folder} has saved no checkpoint; {names} there are of a run before it. "
            "To go on with that one give its file: --resume CKPT; to start anew leave --resume away."
        )
    if match := _STEP_NAME.fullmatch(Path(text.replace("\\", "/")).name):
        kind, step = match.group(1), int(match.group(2))
        earlier = sorted((s for k, s, _ in found if k == kind and s <= step), reverse=True)
        return [Path(folder) / f"{kind}_{s}.pth" for s in earlier]
    written = {kind: max(p.stat().st_mtime_ns for k, _, p in found if k == kind) for kind in {k for k, _, _ in found}}
    return [path for _, _, path in sorted(found, key=lambda f: (written[f[0]], f[1]), reverse=True)]


def find_latest_checkpoint(folder: str | os.PathLike) -> Path | None:
    """The newest complete checkpoint of the run in `folder`, or None. A damaged one is passed over with a warning.

    Raises:
        CheckpointError: the run that started last in this folder has saved nothing yet, see `resumable_checkpoints`.
    """
    for path in resumable_checkpoints(folder):
        try:
            check_readable(path)
            load_tensors(path, "cpu", mmap=True)  # reads the structure only; the directory stands at the end
        except CheckpointError as error:
            print_log(f"passed over: {error}", logger="current", level=30)
        else:
            return path
    return None
