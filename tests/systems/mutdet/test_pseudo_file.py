"""Test the file of pseudo labels: what is written is read, and tables of different length are refused."""

import json
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from vislab.errors import DataError
from vislab.systems.mutdet.pseudo_file import PseudoFile, PseudoImage, PseudoObjects, write_pseudo_labels


def objects(count: int, start: int = 0, channels: int = 4) -> PseudoObjects:
    rows = np.arange(start, start + count, dtype=np.float32)
    rboxes = np.stack([rows, rows, rows + 20, rows + 10, rows * 0], axis=1)
    return PseudoObjects(rboxes, rows, rows.astype(np.int64) % 3, np.tile(rows[:, None], (1, channels)))


def write(path, counts=(2, 0, 1000)):
    images = [PseudoImage(f"{i}.png", 64, 96) for i in range(len(counts))]
    write_pseudo_labels(path, images, [objects(n, 10 * i) for i, n in enumerate(counts)], 3)
    return path


def test_what_is_written_is_read(tmp_path):
    file = PseudoFile(write(tmp_path / "a.safetensors"))
    assert file.images[1] == PseudoImage("1.png", 64, 96) and (file.clusters, file.channels) == (3, 4)
    for number, count in ((2, 1000), (0, 2), (1, 0)):
        again = pickle.loads(pickle.dumps(file)).read(number)
        for found, expected in zip(again, objects(count, 10 * number), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_no_objects_at_all(tmp_path):
    assert PseudoFile(write(tmp_path / "a.safetensors", (0, 0))).read(1).embeddings.shape == (0, 4)


def test_different_lengths_are_refused_when_written(tmp_path):
    wrong = objects(3)._replace(embeddings=np.zeros((2, 4), np.float32))
    with pytest.raises(DataError, match=r"a.png: different numbers of .*'rboxes': 3.*'embeddings': 2"):
        write_pseudo_labels(tmp_path / "a.safetensors", [PseudoImage("a.png", 8, 8)], [wrong], 3)
    assert not list(tmp_path.iterdir())


def test_damaged_files(tmp_path):
    path = write(tmp_path / "a.safetensors")
    tables = load_file(path)
    index = {"index": json.dumps({"clusters": 3, "images": [[f"{i}.png", 64, 96] for i in range(3)]})}
    for change, text in (
        ({"embeddings": tables["embeddings"][1:]}, "different lengths"),
        ({"rboxes": tables["rboxes"][1:]}, "different lengths"),
        ({"scores": tables["rboxes"]}, "different lengths or shapes"),
        ({"offsets": tables["offsets"][1:]}, "3 images, but offsets of 2"),
    ):
        save_file(tables | change, tmp_path / "b.safetensors", metadata=index)
        with pytest.raises(DataError, match=text):
            PseudoFile(tmp_path / "b.safetensors")
    save_file(tables, tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"{}")
    for name in ("b", "c", "none"):
        with pytest.raises(DataError, match=f"{name}.safetensors is not a file of pseudo labels"):
            PseudoFile(tmp_path / f"{name}.safetensors")
