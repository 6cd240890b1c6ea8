"""Test plain data: values are equal after loading, unsupported ones raise an error with their place."""

import re
from collections import OrderedDict, deque
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer as MMEngineHistoryBuffer

import vislab.engine  # noqa: F401  (histories of values become plain, too)
from vislab.errors import CheckpointError
from vislab.io import serialize
from vislab.io.checkpoint import load_checkpoint, save_checkpoint
from vislab.io.serialize import from_plain, to_plain


def test_plain_data_survives_the_round_trip(tmp_path):
    history = MMEngineHistoryBuffer([1.0, 2.5], [1, 2])
    metadata = OrderedDict(w=torch.ones(2))
    metadata._metadata = {"": {"version": 2}}
    content = {
        "loss": history,
        "scores": {"best": np.float32(0.5), "n": np.int64(3), 7: [np.bool_(True), (None, "x")]},
        "palette": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "names": np.array(["a", "bb"]),
        "path": Path("a/b"),
        "state": metadata,
    }
    save_checkpoint(to_plain(content), tmp_path / "x.pth")
    back = from_plain(load_checkpoint(tmp_path / "x.pth"))
    assert back["scores"] == {"best": 0.5, "n": 3, 7: [True, (None, "x")]}
    assert type(back["scores"]["best"]) is float and type(back["scores"]["n"]) is int
    assert back["palette"].dtype == np.uint8 and np.array_equal(back["palette"], content["palette"])
    assert np.array_equal(back["names"], content["names"]) and back["path"] == "a/b"
    assert back["loss"].data[0].tolist() == [1.0, 2.5] and back["loss"].data[1].tolist() == [1, 2]
    assert back["state"]._metadata == {"": {"version": 2}}


def test_what_cannot_be_plain_is_named_with_its_place():
    with pytest.raises(
        CheckpointError, match=re.escape("checkpoint['message_hub']['runtime_info']['model'][1]: it is a")
    ):
        to_plain({"message_hub": {"runtime_info": {"model": [0, object()]}}})


def test_containers_keep_their_kind():
    class Text(str):
        pass

    content = {
        "tuple": (1, [2.5]), "set": frozenset({1, 2}), "queue": deque([1, 2], maxlen=2), "text": Text("a"),
        "bytes": b"\x00", "dtype": torch.float16, "size": torch.Size([2, 3]), "none": None, np.int64(4): True,
    }  # fmt: skip
    plain = to_plain(content)
    assert plain["tuple"] == (1, [2.5]) and plain["set"] == {1, 2} and plain["queue"] == [1, 2]
    assert type(plain["text"]) is str and type(plain["set"]) is set and type(list(plain)[-1]) is int
    assert {k: plain[k] for k in ("bytes", "dtype", "size", "none")} == {
        "bytes": b"\x00", "dtype": torch.float16, "size": torch.Size([2, 3]), "none": None,
    }  # fmt: skip


def test_tensors_share_their_memory_and_leave_the_graph():
    weight = torch.ones(3, requires_grad=True)
    plain = to_plain([weight])[0]
    assert plain.data_ptr() == weight.data_ptr() and not plain.requires_grad


@pytest.mark.parametrize(
    "array",
    [np.zeros((0, 3), np.float32), np.array(2.5), np.array([True, False]), np.array([[1, 2]], ">i2"),
     np.array(["2026-01-02"], "datetime64[D]").astype(np.int64)],
    ids=["empty", "scalar", "bool", "big-endian", "days"],
)  # fmt: skip
def test_arrays_come_back_with_type_and_shape(array):
    (back,) = from_plain(to_plain([array]))
    assert back.dtype == array.dtype and back.shape == array.shape and np.array_equal(back, array)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [{"b": object()}]}, "checkpoint['a'][0]['b']: it is a builtins.object"),
        ({(1, 2): {"x": len}}, "checkpoint[(1, 2)]['x']: it is a builtins.builtin_function_or_method"),
        ({"a": {frozenset(): 1}}, "a key of checkpoint['a']: it is a builtins.frozenset"),
        ({"a": np.array([{}, None])[:1].tolist() + [object]}, "checkpoint['a'][1]: it is a builtins.type"),
    ],
)
def test_places_of_what_cannot_be_plain(value, place):
    with pytest.raises(CheckpointError, match=re.escape(f"cannot save {place}")):
        to_plain(value)


def test_a_container_that_stands_in_many_places_is_read_once():
    """Each level twice, 16 deep: 65,536 copies of the leaf otherwise."""
    value = ["leaf"]
    for _ in range(16):
        value = [value, value]
    back = from_plain(value)
    for _ in range(16):
        assert back[0] is back[1]
        back = back[0]
    assert back == ["leaf"]


def test_marked_forms_that_were_changed():
    holds_itself = []
    holds_itself.append(holds_itself)
    for value in (
        {"__numpy__": [1, 2], "dtype": "<f4", "shape": [3]},
        {"__numpy__": [1], "dtype": "nothing", "shape": [1]},
        {"__numpy__": [1]},
        holds_itself,
    ):
        with pytest.raises(CheckpointError, match="contains data that `to_plain` never writes"):
            from_plain({"a": value})


def test_a_registered_class_comes_back(monkeypatch):
    monkeypatch.setattr(serialize, "_KINDS", dict(serialize._KINDS))
    serialize.register_kind(
        "__path__", PurePosixPath, lambda p: {"__path__": p.as_posix()}, lambda d: d["__path__"][::-1]
    )
    assert to_plain({"p": [Path("a/b")]}) == {"p": [{"__path__": "a/b"}]}
    assert from_plain(to_plain({"p": [Path("a/b")]})) == {"p": ["b/a"]}
