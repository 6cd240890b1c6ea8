"""Test images kept in memory: equal pixels from folder, archive and cache."""

import pickle
import shutil
import zipfile

import cv2
import numpy as np
import pytest
import torch

from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.in_memory import InMemoryImages
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.errors import DataError


def tree(folder, size=8):
    """train/{cat,dog}/*.png, three images each."""
    rng = np.random.RandomState(0)
    for name in ("cat", "dog"):
        (folder / "train" / name).mkdir(parents=True)
        for i in range(3):
            cv2.imwrite(str(folder / "train" / name / f"{i}.png"), rng.randint(0, 256, (size, size, 3), np.uint8))
    return folder


def zipped(folder):
    path = shutil.make_archive(str(folder), "zip", folder)
    shutil.rmtree(folder)
    return path


class TestFoldersInAZip(DatasetBehavior):
    loaders = (LoadImage,)
    cache = False

    def build(self, tmp_path, pipeline):
        path = tmp_path / "set.zip"
        if not path.exists():
            zipped(tree(tmp_path / "set"))
        return ImageFolder(data_root=str(path), split="train", cache=self.cache, pipeline=pipeline)


class TestFoldersInAZipHeldInMemory(TestFoldersInAZip):
    cache = True


@pytest.mark.parametrize("cache", [False, True])
def test_folder_zip_and_cache_give_the_same(tmp_path, cache):
    folder = tree(tmp_path / "set")
    plain = ImageFolder(data_root=str(folder), split="train", pipeline=[LoadImage(), PackInputs()])
    wanted = [plain[i] for i in range(6)]
    other = ImageFolder(data_root=zipped(folder), split="train", cache=cache, pipeline=[LoadImage(), PackInputs()])
    other = pickle.loads(pickle.dumps(other))  # into a worker
    assert len(other) == 6 and other.metainfo["classes"] == ("cat", "dog")
    for i in range(6):
        assert torch.equal(other[i]["inputs"], wanted[i]["inputs"])
        assert other[i]["data_samples"].gt_label.label == wanted[i]["data_samples"].gt_label.label
    some = ImageFolder(data_root=str(tmp_path / "set.zip"), split="train", cache=cache, indices=[4, 1],
                       pipeline=[LoadImage(), PackInputs()])  # fmt: skip
    assert torch.equal(some[0]["inputs"], wanted[4]["inputs"]) and torch.equal(some[1]["inputs"], wanted[1]["inputs"])


def test_the_cache_wants_one_size(tmp_path):
    folder = tree(tmp_path / "set")
    cv2.imwrite(str(folder / "train" / "dog" / "9.png"), np.zeros((9, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"9.png is 9x8 .* Use cache=False"):
        ImageFolder(data_root=str(folder), split="train", cache=True)


def test_what_is_wrong_with_an_archive_is_said(tmp_path):
    path = zipped(tree(tmp_path / "set"))
    with pytest.raises(DataError, match="no class folders"):
        ImageFolder(data_root=path, split="tarin")
    (tmp_path / "broken.zip").write_bytes(b"PK not really")
    with pytest.raises(DataError, match=r"broken.zip is not a readable zip"):
        ImageFolder(data_root=str(tmp_path / "broken.zip"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train/cat/bad.jpg", b"no image")
    with pytest.raises(DataError, match=r"set.zip/train/cat/bad.jpg"):
        ImageFolder(data_root=path, split="train", cache=True)
    dataset = ImageFolder(data_root=path, split="train", pipeline=[LoadImage()])
    with pytest.raises(DataError, match=r"set.zip/train/cat/bad.jpg"):
        [dataset[i] for i in range(len(dataset))]


class Rows(InMemoryImages):
    """Three records whose rows stand in another order than they do."""

    def load_data_list(self):
        return [{"img_path": f"{row}.png", "row": row} for row in (2, 0, 1)]


def test_pixels_belong_to_rows_and_are_copies():
    images = np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    dataset = Rows()
    dataset.set_images(images)
    assert [int(dataset.get_data_info(i)["img"][0, 0, 0]) for i in range(3)] == [2, 0, 1]
    dataset.get_data_info(0)["img"][...] = 9
    assert dataset.get_data_info(0)["img"].max() == 2


def test_only_the_rows_in_use_are_read():
    read, dataset = [], Rows(indices=[2, 0])

    def pixels(path):
        read.append(path)
        return np.full((2, 4, 3), int(path[0]), np.uint8)

    assert "img" not in dataset.get_data_info(0)
    dataset.load_images(pixels)
    assert set(read) == {"1.png", "2.png"} and dataset._images.shape == (2, 2, 4, 3)
    assert [int(dataset.get_data_info(i)["img"].max()) for i in range(2)] == [1, 2]
