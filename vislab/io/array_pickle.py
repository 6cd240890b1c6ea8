"""Read pickle files of arrays, as in detectron2's model zoo, without running code from them."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from vislab.errors import CheckpointError
from vislab.io.checkpoint import check_readable


def read_array_pickle(path: str | Path) -> dict[str, Any]:
    """Return the dict of arrays in a pickle file.

    Raises:
        CheckpointError: The file is missing, damaged, or has objects other than NumPy arrays and Python objects.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns about the dtypes of damaged files
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except _OtherObject as error:
        raise CheckpointError(f"{path} is not a pickle of arrays: {error}") from error
    except Exception as error:  # damaged pickles can raise any type
        check_readable(Path(path))  # missing, a folder, a text file ...
        raise CheckpointError(f"{path} is not a pickle of arrays: {str(error) or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} contains a {type(content).__name__}; a checkpoint is a dict of weights.")
    return content


class _OtherObject(pickle.UnpicklingError):
    """A pickle contains other objects than arrays and plain Python."""


class _ArrayUnpickler(pickle._Unpickler):
    """Unpickler for NumPy arrays, which raises an error for all other classes and functions.

    Based on the Python implementation, since the C implementation can allocate tens of GB for damaged files.
    """

    dispatch = {code: load for code, load in pickle._Unpickler.dispatch.items() if code != pickle.BYTEARRAY8[0]}
    _MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")

    def find_class(self, module: str, name: str) -> Any:
        if module in self._MODULES and name in ("_reconstruct", "scalar"):
            return getattr(np._core.multiarray, name)
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if (module, name) == ("_codecs", "encode"):
            import _codecs

            return _codecs.encode
        if name == "bytes" and module in ("__builtin__", "builtins"):
            return _no_bytes
        raise _OtherObject(f"it contains a {f'{module}.{name}'!r}, and only arrays are read from pickles")


def _no_bytes() -> bytes:
    """Stands in for `bytes`, which pickle protocols before 3 call without arguments for an empty array."""
    return b""
