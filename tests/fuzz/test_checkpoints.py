"""Fuzz checkpoints: each mutated file loads or raises one CheckpointError; no changed weight is accepted.
Each case is generated from its number, which a failure reports.
"""

import io
import pickle
import random
import signal
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.toy_run import ToyModel, make_runner
from vislab.errors import CheckpointError, VislabError
from vislab.io.checkpoint import load_checkpoint
from vislab.io.weights import get_weights, load_state, read_weights
from vislab.zoo.foreign import read_tensors

SECONDS = 30  # for one case; a hang fails


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> dict[str, bytes]:
    """The same checkpoint of a run in every format that is read."""
    from safetensors.torch import save as to_safetensors

    folder = tmp_path_factory.mktemp("run")
    make_runner(folder, total=1).train()
    content = load_checkpoint(folder / "epoch_1.pth")
    old = io.BytesIO()
    torch.save(content, old, _use_new_zipfile_serialization=False)
    return {
        "zip": (folder / "epoch_1.pth").read_bytes(),
        "legacy": old.getvalue(),
        "safetensors": to_safetensors(get_weights(content)),
        "pkl": pickle.dumps({"model": {k: v.numpy() for k, v in get_weights(content).items()}}),
    }


# ------------------------------------------------------------------------------------------------------- mutations


def change_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut_or_shift(data: bytes, rng: random.Random) -> bytes:
    place, length = rng.randrange(len(data)), rng.choice((1, 7, 64, 1000))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + data[place + length :]
    if kind == 2:
        return data[:place] + rng.randbytes(length) + data[place:]
    return data[:place] + bytes(length) + data[place + length :]


def change_pickle(data: bytes, rng: random.Random) -> bytes:
    """Another pickle inside a whole archive whose checksums are right."""
    source, target = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for info in source.infolist():
            content = source.read(info)
            if info.filename.endswith("data.pkl"):
                content = change_bytes(content, rng)
            elif rng.random() < 0.02:
                content = cut_or_shift(content, rng)
            if not info.filename.endswith("data/3") or rng.random() < 0.9:
                archive.writestr(zipfile.ZipInfo(info.filename), content)
    return target.getvalue()


def change_structure(data: bytes, rng: random.Random) -> bytes:
    """One to three nodes of the nested content replaced, removed or renamed."""
    content = torch.load(io.BytesIO(data), weights_only=True)
    for _ in range(rng.choice((1, 1, 2, 3))):
        parent, key = content, None
        while True:
            keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
            if not keys:
                break
            key = rng.choice(keys)
            if not isinstance(parent[key], (dict, list)) or rng.random() < 0.25:
                break
            parent = parent[key]
        if not keys:
            continue
        kind = rng.randrange(8)
        if kind == 0 and isinstance(parent, dict):
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[rng.choice((0, "", None, (1, 2), "x" * 99))] = parent.pop(key)
        elif kind == 2 and isinstance(parent[key], torch.Tensor):
            parent[key] = odd_form(parent[key], rng)
        else:
            parent[key] = odd_value(rng)
    target = io.BytesIO()
    torch.save(content, target)
    return target.getvalue()


def odd_form(value: torch.Tensor, rng: random.Random) -> object:
    forms: list[Callable] = [
        lambda: value.reshape(-1)[:0],
        lambda: value.unsqueeze(0),
        lambda: value.to(torch.complex64),
        lambda: value.to(torch.int8),
        lambda: value.float().to_sparse(),
        lambda: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
        lambda: value.to("meta"),
        lambda: value.tolist(),
        lambda: value.double(),
        lambda: torch.full_like(value.float(), float("nan")),
        lambda: torch.zeros(1).expand(10**6, 10**6),
    ]
    return rng.choice(forms)()


def odd_value(rng: random.Random) -> object:
    loop: list = []
    loop.append(loop)
    shared: list = [1]
    for _ in range(40):  # 2 ** 40 entries for who copies it without looking
        shared = [shared, shared]
    deep: list = []
    for _ in range(450):
        deep = [deep]
    values = [None, True, -1, 10**30, float("nan"), float("inf"), "", "text", b"bytes", [], {}, (), [None], {1: 2}]
    values += [torch.zeros(2, 3), torch.tensor(5), torch.zeros(0), loop, shared, deep, {"__numpy__": 1}, {"a": {}}]
    values += [{"__history__": [1]}, {"__numpy__": [1, 2], "dtype": "V9", "shape": [5]}, 1e308, -0.5, 3]
    return rng.choice(values)


MUTATIONS = {
    "zip bytes": ("zip", change_bytes),
    "zip cut": ("zip", cut_or_shift),
    "pickle": ("zip", change_pickle),
    "structure": ("zip", change_structure),
    "legacy bytes": ("legacy", change_bytes),
    "legacy cut": ("legacy", cut_or_shift),
    "safetensors": ("safetensors", change_bytes),
    "pkl": ("pkl", change_bytes),
}


# --------------------------------------------------------------------------------------------------------- readers


def resume(path: Path, work_dir: Path) -> None:
    make_runner(work_dir, total=2, resume=str(path), val_dataloader=None, val_cfg=None, val_evaluator=None).train()


def load_from(path: Path, work_dir: Path) -> None:
    runner = make_runner(work_dir, total=1, load_from=str(path), val_dataloader=None, val_cfg=None, val_evaluator=None)
    runner.train()


READERS = {
    "resume": resume,
    "load_from": load_from,
    "load": lambda path, _: load_state(ToyModel(), load_checkpoint(path), path),
    "weights": lambda path, _: read_weights(str(path)),
    "foreign": lambda path, _: get_weights(read_tensors(path), path),
}


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    def stop(*_):
        raise TimeoutError(f"no answer after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_case(originals: dict[str, bytes], number: int, folder: Path) -> bool:
    """Whether the mutated file was refused; anything but a VislabError comes through."""
    rng = random.Random(number)
    form, mutate = MUTATIONS[rng.choice(list(MUTATIONS))]
    path = folder / f"case_{number}.{form if form in ('safetensors', 'pkl') else 'pth'}"
    path.write_bytes(mutate(originals[form], rng))
    readers = ["foreign"] if form == "pkl" else ["load", "weights", "foreign"] if form == "safetensors" else READERS
    try:
        with time_limit(SECONDS):
            READERS[rng.choice(list(readers))](path, folder / f"run_{number}")
    except VislabError as error:
        assert "\n" not in str(error).strip() or "belongs to another model" in str(error), f"case {number}: {error}"
        return True
    finally:
        path.unlink()
    return False


@pytest.mark.parametrize(
    "numbers",
    [range(40), *(pytest.param(range(k, k + 100), marks=pytest.mark.slow) for k in range(0, 1000, 100))],
    ids=lambda numbers: f"{numbers[0]}-{numbers[-1]}",
)
@pytest.mark.filterwarnings("ignore")
def test_mutated_checkpoints_are_refused_or_loaded(originals, numbers, tmp_path):
    refused = 0
    for number in numbers:
        try:
            refused += try_case(originals, number, tmp_path)
        except Exception as error:
            raise AssertionError(f"case {number}: {type(error).__name__}: {error}") from error
    assert refused > len(numbers) / 3  # most mutations do harm


def test_every_changed_byte_of_the_weights_is_noticed(originals, tmp_path):
    data, path = originals["zip"], tmp_path / "epoch_1.pth"
    rng = random.Random(0)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        records = [archive.read(info) for info in archive.infolist() if "/data/" in info.filename and info.file_size]
    for record in records:
        place = data.index(record) + rng.randrange(len(record))
        changed = bytearray(data)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match="its checksum is wrong"):
            load_checkpoint(path)


def test_originals_are_whole(originals, tmp_path):
    """The files that mutations start from load, in each format, to the same numbers."""
    expected = None
    for form, data in originals.items():
        path = tmp_path / f"whole.{form if form in ('safetensors', 'pkl') else 'pth'}"
        path.write_bytes(data)
        weights = {k: np.asarray(v) for k, v in get_weights(_arrays_as_tensors(read_tensors(path))).items()}
        expected = expected or weights
        assert weights.keys() == expected.keys() and all(np.array_equal(weights[k], expected[k]) for k in weights)


def _arrays_as_tensors(content: dict) -> dict:
    inner = content.get("model", content)
    return {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in inner.items()}
