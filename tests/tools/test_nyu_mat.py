"""Test that the NYU converter orders axes, scales and units as expected by the published evaluation."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from vislab.errors import DataError, VislabError

TOOL = Path(__file__).parents[2] / "tools" / "dataset_converters" / "nyu_mat.py"


@pytest.fixture(scope="module")
def convert():
    return runpy.run_path(str(TOOL))["convert"]


def test_splits_are_checked_first(tmp_path, convert):
    pytest.importorskip("h5py")
    with pytest.raises(DataError, match="is not NYU's splits.mat"):
        convert(tmp_path / "a.mat", tmp_path / "b.mat", tmp_path)


def test_without_h5py(tmp_path, convert, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(VislabError, match="pip install h5py"):
        convert(tmp_path / "a.mat", tmp_path / "b.mat", tmp_path)


class StandIn(dict):
    """The parts of an h5py.File that the tool uses: tables by name, and references by their value."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    names = {f"ref{i}": np.array([ord(c) for c in "kitchen"]) for i in range(2)}
    tables = {"images": np.zeros((2, 3, 640, 480), np.uint8), "rawDepths": np.ones((2, 640, 480), np.float32)}
    content = StandIn(tables, sceneTypes=[list(names)], **names)
    monkeypatch.setitem(sys.modules, "h5py", SimpleNamespace(File=lambda path, mode: content))
    return content


@pytest.mark.parametrize("indices", [[[0]], [[3]]])
def test_images_that_do_not_exist_are_refused_before_files_are_written(tmp_path, convert, stand_in, indices):
    savemat(tmp_path / "splits.mat", {"testNdxs": [[1]], "trainNdxs": indices})
    with pytest.raises(DataError, match=rf"refers to image {indices[0][0]}, but .* contains 1..2"):
        convert(tmp_path / "labeled.mat", tmp_path / "splits.mat", tmp_path / "nyu")
    assert not (tmp_path / "nyu").exists()


def test_a_stopped_conversion_leaves_no_list(tmp_path, convert, stand_in):
    savemat(tmp_path / "splits.mat", {"testNdxs": [[1], [2]], "trainNdxs": [[2]]})
    stand_in["rawDepths"] = stand_in["rawDepths"][:1]
    with pytest.raises(IndexError):
        convert(tmp_path / "labeled.mat", tmp_path / "splits.mat", tmp_path / "nyu")
    found = sorted(path.name for path in (tmp_path / "nyu").rglob("*") if path.is_file())
    assert found == ["rgb_00000.jpg", "sync_depth_00000.png"]


def test_pairs(tmp_path, convert):
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 3, 640, 480), np.uint8)
    images[:] = images.mean(axis=(2, 3), keepdims=True)  # flat colors survive JPEG
    depth = rng.uniform(0.5, 9, (3, 640, 480)).astype(np.float32)
    with h5py.File(tmp_path / "labeled.mat", "w") as file:
        file["images"], file["rawDepths"] = images, depth
        for i, name in enumerate(("kitchen", "office", "kitchen")):
            file[f"#refs#/{i}"] = np.array([[ord(c)] for c in name], np.uint16)
        references = np.array([[file[f"#refs#/{i}"].ref for i in range(3)]], dtype=h5py.ref_dtype)
        file.create_dataset("sceneTypes", data=references, dtype=h5py.ref_dtype)
    savemat(tmp_path / "splits.mat", {"testNdxs": [[1], [3]], "trainNdxs": [[2]]})
    assert convert(tmp_path / "labeled.mat", tmp_path / "splits.mat", tmp_path / "nyu") == {"test": 2, "train": 1}
    lines = (tmp_path / "nyu" / "nyu_test.txt").read_text().splitlines()
    assert lines[1] == "kitchen/rgb_00002.jpg kitchen/sync_depth_00002.png 518.8579"
    folder = tmp_path / "nyu" / "official_splits" / "test"
    png = cv2.imread(str(folder / "kitchen" / "sync_depth_00002.png"), cv2.IMREAD_UNCHANGED)
    assert png.shape == (480, 640) and png[100, 200] == int(depth[2, 200, 100] * 1000)
    jpg = cv2.imread(str(folder / "kitchen" / "rgb_00002.jpg"))[..., ::-1].astype(int)
    assert np.abs(jpg[240, 320] - images[2, :, 320, 240]).max() < 6 and jpg[:3].max() < 12
