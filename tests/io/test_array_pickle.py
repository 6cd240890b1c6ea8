"""Test pickles of arrays of all types and protocols; no other objects are loaded."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest

from tests.helpers.files import Payload
from vislab.errors import CheckpointError
from vislab.io.array_pickle import read_array_pickle


class Filled:
    """Reserves memory when it is unpickled."""

    def __reduce__(self):
        return bytes, (1 << 20,)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_arrays_come_back(tmp_path, protocol):
    arrays = {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "half": np.array([0.5], np.float16),
        "count": np.int64(7),
        "empty": np.zeros((0, 4)),
    }
    content = {"model": OrderedDict(arrays), "__author__": "someone", "steps": [1, (2, None)]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    found = read_array_pickle(tmp_path / "a.pkl")
    assert (
        found["__author__"] == "someone" and found["steps"] == [1, (2, None)] and list(found["model"]) == list(arrays)
    )
    for name, array in arrays.items():
        assert found["model"][name].dtype == array.dtype
        np.testing.assert_array_equal(found["model"][name], array)


def test_names_of_old_numpy_and_python_2(tmp_path):
    """Bytes as Python 2 and NumPy 1 wrote them: the module was called numpy.core, and text was bytes."""
    data = pickle.dumps({"w": np.arange(3)}, 2).replace(b"numpy._core", b"numpy.core")
    data = data.replace(b"X\x01\x00\x00\x00w", b"U\x01w")
    (tmp_path / "a.pkl").write_bytes(data)
    assert b"numpy.core.multiarray" in data and read_array_pickle(tmp_path / "a.pkl")["w"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_is_run(tmp_path, protocol):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"w": Payload(tmp_path / "proof")}, protocol))
    with pytest.raises(CheckpointError, match=r"'posix.mkdir', and only arrays are read"):
        read_array_pickle(tmp_path / "a.pkl")
    assert not (tmp_path / "proof").exists()


def test_what_is_no_pickle_of_arrays(tmp_path):
    path = tmp_path / "a.pkl"
    with pytest.raises(CheckpointError, match="a.pkl does not exist"):
        read_array_pickle(path)
    with pytest.raises(CheckpointError, match="is a folder, not a checkpoint"):
        read_array_pickle(tmp_path)
    for data, message in (
        (b"", "is empty"),
        (b"text", "not a checkpoint but a text file: it begins with b'text'"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (pickle.dumps({"w": np.ones(9)})[:-20], "not a pickle of arrays"),
        (pickle.dumps([1]), "contains a list; a checkpoint is a dict"),
        (pickle.dumps({"w": Filled()}, 2), "takes 0 positional arguments"),
        (pickle.dumps({"w": bytearray(4)}, 5), "not a pickle of arrays"),
    ):
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=message):
            read_array_pickle(path)
