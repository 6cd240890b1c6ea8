"""Load and save checkpoints, without running code from files, and with atomic writes.

All loads in the project use `load_checkpoint`, including those of mmengine (see engine/loaders.py).
"""

import difflib
import hashlib
import itertools
import json
import os
import pickletools
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from vislab.errors import CheckpointError, DataError
from vislab.io.archive_check import check_archive, damaged, is_archive
from vislab.io.atomic import write_atomically
from vislab.io.download import fetch, file_name, is_address
from vislab.io.paths import expand

_META_KEY = "vislab"
"""Entry of the header of a .safetensors file that holds `meta` as JSON."""


def save_checkpoint(obj: Any, path: str | os.PathLike) -> None:
    """Save tensors and Python objects to `path` atomically.

    Raises:
        CheckpointError: The file cannot be written; an existing file at `path` is unchanged.
    """
    write_atomically(path, lambda file: torch.save(obj, file))


def save_weights(weights: Mapping[str, torch.Tensor], path: str | os.PathLike, meta: Mapping[str, Any]) -> None:
    """Write a .safetensors file atomically, which `load_checkpoint` reads as {"state_dict", "meta"}.

    Equal weights and `meta` give equal bytes.

    Args:
        weights: Dense tensors by name, on any device.
        path: Path of the file.
        meta: Facts of the weights that JSON can hold, such as {"dataset_meta": {"classes": [...]}}.

    Raises:
        CheckpointError: The file cannot be written; an existing file at `path` is unchanged.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}  # none shared
    header = {_META_KEY: json.dumps(meta, sort_keys=True)}  # a single entry: safetensors writes several in any order
    write_atomically(path, lambda file: file.write(save(tensors, metadata=header)))


def load_checkpoint(path: str | os.PathLike, map_location: Any = "cpu") -> dict:
    """Load a checkpoint, without running code from it.

    Args:
        path: A `.pth`/`.pt` file, a `.safetensors` file (returned as `{"state_dict": ...}`, with "meta" if it is of
            `save_weights`), or an http(s) URL.
        map_location: As in `torch.load`.

    Raises:
        CheckpointError: The file is missing, truncated, not a checkpoint, or has objects other than tensors and Python
            objects.
    """
    text = os.fspath(path)
    if is_address(text):
        return load_from_http(text, map_location)
    file = Path(expand(text))
    check_readable(file)
    if file.suffix == ".safetensors":
        return _load_safetensors(file, map_location)
    checkpoint = load_tensors(file, map_location)
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{file} contains a {type(checkpoint).__name__}; a checkpoint is a dict of weights.")
    return checkpoint


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Return the texts in the header of a .safetensors file; empty for other files."""
    file = Path(expand(os.fspath(path)))
    if file.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    check_readable(file)
    try:
        with safe_open(str(file), framework="pt") as content:
            return dict(content.metadata() or {})
    except Exception as error:  # see _load_safetensors
        raise CheckpointError(
            f"{file} is not a complete safetensors file: {error}. Copy or download it again."
        ) from error


def check_readable(file: Path) -> None:
    """Raise CheckpointError if a file is missing, empty or not a checkpoint."""
    if file.is_dir():
        names = sorted(p.name for p in file.glob("*.pth"))
        hint = f"use one of the files in it: {', '.join(names[-5:])}" if names else "there is no .pth file in it"
        raise CheckpointError(f"{file} is a folder, not a checkpoint; {hint}.")
    if not file.is_file():
        raise CheckpointError(f"checkpoint {file} does not exist.{_nearest_names(file)}")
    if file.stat().st_size == 0:
        raise CheckpointError(f"checkpoint {file} is empty: it was never written completely. Use an earlier one.")
    with open(file, "rb") as stream:
        head = stream.read(200)
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{file} is a Git LFS pointer, not the weights themselves. Download them with `git lfs pull`."
        )
    if file.suffix != ".safetensors" and not head.startswith((b"PK", b"\x80")):
        kind = "a text file" if _is_text(head) else "something else"
        raise CheckpointError(f"{file} is not a checkpoint but {kind}: it begins with {head[:24]!r}.")


def _is_text(head: bytes) -> bool:
    return all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head)


def _nearest_names(file: Path) -> str:
    folder = file.parent
    if not folder.is_dir():
        return f" The folder {folder} does not exist either."
    names = [p.name for p in folder.iterdir() if p.suffix in (".pth", ".pt", ".safetensors")]
    near = difflib.get_close_matches(file.name, names, n=3, cutoff=0.3)
    return (
        f" In the same folder: {', '.join(near or sorted(names)[-3:])}."
        if names
        else f" {folder} contains no checkpoint."
    )


def _load_safetensors(file: Path, map_location: Any) -> dict:
    from safetensors.torch import load_file

    try:
        weights = load_file(file, device=str(map_location) if isinstance(map_location, (str, torch.device)) else "cpu")
    except Exception as error:  # SafetensorError, but for odd headers TypeError, KeyError, OverflowError too
        raise CheckpointError(
            f"{file} is not a complete safetensors file: {error}. Copy or download it again."
        ) from error
    text = read_metadata(file).get(_META_KEY)
    if text is None:
        return {"state_dict": weights}
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict):
        raise CheckpointError(
            f"{file} is damaged: its entry {_META_KEY!r} is {text[:80]!r}. Copy or download it again."
        )
    return {"state_dict": weights, "meta": meta}


def load_tensors(file: Path, map_location: Any, **options: Any) -> Any:
    """Load a file of `torch.save` with `weights_only=True`, after checking its archive.

    Raises:
        CheckpointError: The file is damaged, or has objects other than tensors and Python objects.
    """
    if is_archive(file):
        check_archive(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocol; followed by an error if it matters
            return torch.load(file, map_location=map_location, weights_only=True, **options)
    except Exception as error:  # damaged pickles can raise any type: AssertionError, TypeError, MemoryError ...
        names = _what_is_unsafe(file) if isinstance(error, UnpicklingError) else []
        if not names and "Unsupported operand" in str(error) and is_archive(file):  # not damaged
            raise CheckpointError(
                f"{file} was not loaded: its pickle is of a kind that torch cannot read without running code, such as "
                "protocol 4. Save it again with the default protocol, where it was made: torch.save(weights, path)"
            ) from None
        if not names:
            raise damaged(file, _reason(error)) from error
        raise CheckpointError(
            f"{file} was not loaded: besides tensors it contains {', '.join(names[:5])}, and loading that would run "
            "code from the file. Take a file of weights only; or, in a project that trusts it, load it there and save "
            'its weights alone: torch.save({"state_dict": checkpoint["state_dict"]}, "weights.pth")'
        ) from None


def _reason(error: Exception) -> str:
    """Return the first sentence of torch's message, without its advice to load the file with weights_only=False."""
    text = str(error).partition("WeightsUnpickler error: ")[2] or str(error)
    return text.strip().splitlines()[0].split(". ")[0][:160] if text.strip() else type(error).__name__


def _what_is_unsafe(file: Path) -> list[str]:
    """Return the names of functions and classes that loading would call."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(file)
    except Exception:  # torch supports only the zip format
        names = _names_in_pickle(file)
    return sorted(set(names))


def _names_in_pickle(file: Path) -> list[str]:
    names, texts = [], []
    try:
        with open(file, "rb") as stream:
            pickles = (pickletools.genops(stream) for _ in range(5))  # torch's old format has five consecutive pickles
            for operation, argument, _ in itertools.islice(itertools.chain.from_iterable(pickles), 10_000):
                if operation.name == "GLOBAL":
                    names.append(argument.replace(" ", "."))
                elif operation.name == "STACK_GLOBAL":
                    names.append(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
    except Exception:  # report the names found so far
        pass
    return [name for name in names if not name.startswith(("torch.", "collections."))]


def load_from_http(url: str, map_location: Any = "cpu") -> dict:
    """Download a checkpoint to torch's hub folder, once for all processes, and load it.

    Raises:
        CheckpointError: It cannot be downloaded, or as in `load_checkpoint`.
    """
    digest = hashlib.sha256(url.encode()).hexdigest()[:8]  # different addresses often end with the same name
    try:
        target = Path(torch.hub.get_dir()) / "checkpoints" / digest / file_name(url)
        fetch(url, target, by_hand="use its path instead of the address")
    except DataError as error:
        raise CheckpointError(str(error)) from error
    return load_checkpoint(target, map_location)
