"""Reads and writes checkpoints: nothing that is loaded can run code, nothing that is written can be half there.

Every load in the project goes through `load_checkpoint`, mmengine's own ones included (Runner, EMA, `init_cfg` with
`Pretrained`): its loader schemes are replaced when this module is imported.
"""

import difflib
import itertools
import os
import pickletools
import re
import shutil
import time
import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models

from vislab.engine.archive_check import check_archive, damaged, is_archive
from vislab.engine.latest import resumable_checkpoints
from vislab.errors import CheckpointError
from vislab.zoo.weights import LoadReport, get_weights, load_state

__all__ = [  # three of zoo.weights among them: they go together with reading
    "LoadReport",
    "find_latest_checkpoint",
    "get_weights",
    "install_loaders",
    "load_checkpoint",
    "load_state",
    "remove_leftovers",
    "save_checkpoint",
    "write_text_atomically",
]

TEMPORARY_SUFFIX = ".tmp"
_LEFTOVER = re.compile(r"(\.pth|\.json|^last_checkpoint)\.\d+\.tmp$")
_LIVING_TEST = 3600  # seconds: an evaluation may be writing its metrics.json into the folder right now


# ------------------------------------------------------------------------------------------------------------ writing


def save_checkpoint(obj: Any, path: str | os.PathLike) -> None:
    """Write tensors and plain Python to `path` so that it holds either the old content or all of the new one.

    Raises:
        CheckpointError: the disk is full or cannot be written; what stood at `path` before is untouched.
    """
    _write_atomically(Path(path), lambda file: torch.save(obj, file))


def write_text_atomically(text: str, path: str | os.PathLike) -> None:
    """Replace the text file `path` in one step."""
    _write_atomically(Path(path), lambda file: file.write(text.encode()))


def copy_atomically(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Copy a file so that `target` is either as it was or whole."""
    with open(source, "rb") as stream:
        _write_atomically(Path(target), lambda file: shutil.copyfileobj(stream, file))


def _write_atomically(path: Path, write: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"cannot write {path}: {error}. Is the disk full or the folder read-only? What was saved before is "
            "untouched."
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # make the new name itself survive a power cut
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Delete what killed runs left half-written in `folder`, in which no other run trains; returns the paths."""
    removed = []
    for path in Path(folder).iterdir():
        if not _LEFTOVER.search(path.name):
            continue
        try:
            if ".json." in path.name and time.time() - path.stat().st_mtime < _LIVING_TEST:
                continue
            path.unlink()
        except FileNotFoundError:  # it was not left over: its writer has just renamed it
            continue
        removed.append(path)
    return removed


# ------------------------------------------------------------------------------------------------------------ reading


def load_checkpoint(path: str | os.PathLike, map_location: Any = "cpu") -> dict:
    """Read a checkpoint; no code in it is ever run.

    Args:
        path: A `.pth`/`.pt` file, a `.safetensors` file (returned as `{"state_dict": ...}`), or an http(s) address.
        map_location: As in `torch.load`.

    Raises:
        CheckpointError: missing, truncated, not a checkpoint, or holding more than tensors and plain Python.
    """
    text = os.fspath(path)
    if text.startswith(("http://", "https://")):
        return _load_from_http(text, map_location)
    file = Path(os.path.expandvars(text)).expanduser()
    _check_readable(file)
    if file.suffix == ".safetensors":
        return _load_safetensors(file, map_location)
    checkpoint = _load_pickle_free(file, map_location)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{file} holds a {type(checkpoint).__name__}; a checkpoint is a dict of weights.")
    return checkpoint


def _check_readable(file: Path) -> None:
    if file.is_dir():
        names = sorted(p.name for p in file.glob("*.pth"))
        hint = f"give one of the files in it: {', '.join(names[-5:])}" if names else "there is no .pth file in it"
        raise CheckpointError(f"{file} is a folder, not a checkpoint; {hint}.")
    if not file.is_file():
        raise CheckpointError(f"checkpoint {file} does not exist.{_nearest_names(file)}")
    if file.stat().st_size == 0:
        raise CheckpointError(f"checkpoint {file} is empty: it was never written completely. Use an earlier one.")
    with open(file, "rb") as stream:
        head = stream.read(200)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{file} is a Git LFS pointer, not the weights themselves. Fetch them with `git lfs pull`."
        )
    if file.suffix != ".safetensors" and not head.startswith((b"PK", b"\x80")):
        kind = "a text file" if _is_text(head) else "something else"
        raise CheckpointError(f"{file} is no checkpoint but {kind}: it begins with {head[:24]!r}.")


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head)


def _nearest_names(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist either."
    names = [p.name for p in folder.iterdir() if p.suffix in (".pth", ".pt", ".safetensors")]
    near = difflib.get_close_matches(file.name, names, n=3, cutoff=0.3)
    return (
        f" In the same folder: {', '.join(near or sorted(names)[-3:])}." if names else f" {folder} holds no checkpoint."
    )


def _load_safetensors(file: Path, map_location: Any) -> dict:
    from safetensors.torch import load_file

    try:
        weights = load_file(file, device=str(map_location) if isinstance(map_location, (str, torch.device)) else "cpu")
    except Exception as error:  # SafetensorError, but for odd headers TypeError, KeyError, OverflowError too
        raise CheckpointError(f"{file} is no complete safetensors file: {error}. Copy or download it again.") from error
    return {"state_dict": weights}


def _load_pickle_free(file: Path, map_location: Any, **options: Any) -> Any:
    if is_archive(file):
        check_archive(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol, which an error follows where it matters
            return torch.load(file, map_location=map_location, weights_only=True, **options)
    except Exception as error:  # a damaged or odd pickle can raise any kind: AssertionError, TypeError, MemoryError ...
        names = _what_is_unsafe(file) if isinstance(error, UnpicklingError) else []
        if not names and "Unsupported operand" in str(error) and is_archive(file):  # whole, as its checksums say
            raise CheckpointError(
                f"{file} was not loaded: its pickle is of a kind that torch cannot read without running code, such as "
                "protocol 4. Save it again with the default protocol, where it was made: torch.save(weights, path)"
            ) from None
        if not names:
            raise damaged(file, _reason(error)) from error
        raise CheckpointError(
            f"{file} was not loaded: besides tensors it holds {', '.join(names[:5])}, and loading that would run code "
            "from the file. Take a file of weights only; or, in a project that trusts it, load it there and save its "
            'weights alone: torch.save({"state_dict": checkpoint["state_dict"]}, "weights.pth")'
        ) from None


def _reason(error: Exception) -> str:
    """The first sentence of torch's message, without its advice to load the file unsafely."""
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    return text.strip().splitlines()[0].split(". ")[0][:160] if text.strip() else type(error).__name__


def _what_is_unsafe(file: Path) -> list[str]:
    """Names of the functions and classes that loading would call, read without calling them."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # only the zip form can be listed by torch
        names = _names_in_pickle(file)
    return sorted(set(names))


def _names_in_pickle(file: Path) -> list[str]:
    names, texts = [], []
    try:
        with open(file, "rb") as stream:
            pickles = (pickletools.genops(stream) for _ in range(5))  # torch's old form is five of them in a row
            for operation, argument, _ in itertools.islice(itertools.chain.from_iterable(pickles), 10_000):
                if operation.name == "GLOBAL":
                    names.append(argument.replace(" ", "."))
                elif operation.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # what was found so far is told all the same
        pass
    return [name for name in names if not name.startswith(("torch.", "collections."))]


def _load_from_http(url: str, map_location: Any = "cpu") -> dict:
    from mmengine.dist import is_main_process
    from mmengine.dist.dist import barrier

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target = folder / os.path.basename(url.split("?", 1)[0])
    if is_main_process() and not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(target), progress=False)
        except OSError as error:
            raise CheckpointError(
                f"cannot download {url}: {error}. Download it by other means and give its path."
            ) from error
    barrier()
    return load_checkpoint(target, map_location)


def find_latest_checkpoint(folder: str | os.PathLike) -> Path | None:
    """The newest complete checkpoint of the run in `folder`, or None. A damaged one is passed over with a warning.

    Raises:
        CheckpointError: the run that started last in this folder has saved nothing yet, see `resumable_checkpoints`.
    """
    for path in resumable_checkpoints(folder):
        try:
            _check_readable(path)
            _load_pickle_free(path, "cpu", mmap=True)  # reads the structure only; the directory stands at the end
        except CheckpointError as error:
            print_log(f"passed over: {error}", logger="current", level=30)
        else:
            return path
    return None


# --------------------------------------------------------------------------------------------------- mmengine's schemes


def _load_torchvision(filename: str, map_location: Any = "cpu") -> dict:
    name = filename.split("://", 1)[1]
    urls = get_torchvision_models()
    if name not in urls:
        raise CheckpointError(
            f"torchvision has no weights {name!r}. Near: {difflib.get_close_matches(name, urls) or 'none'}"
        )
    return _load_from_http(urls[name], map_location)


def _refuse_scheme(filename: str, map_location: Any = "cpu") -> dict:
    raise CheckpointError(f"{filename}: this kind of address is not supported. Download the file and give its path.")


def install_loaders() -> None:
    """Replace every loader of mmengine: the stock ones unpickle whatever the file holds."""
    for prefix in list(CheckpointLoader._schemes):
        CheckpointLoader.register_scheme(prefix, _refuse_scheme, force=True)
    CheckpointLoader.register_scheme("", load_checkpoint, force=True)
    CheckpointLoader.register_scheme(("http://", "https://"), _load_from_http, force=True)
    CheckpointLoader.register_scheme(("torchvision://", "modelzoo://"), _load_torchvision, force=True)


install_loaders()
