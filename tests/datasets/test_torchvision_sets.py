"""Small images: folders inside a .zip, the cache in memory, torchvision's sets."""

import pickle
import shutil
import zipfile

import cv2
import numpy as np
import pytest
import torch

from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.torchvision_sets import CIFAR10, FashionMNIST
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


class TestZip(DatasetBehavior):
    loaders = (LoadImage,)
    cache = False

    def build(self, tmp_path, pipeline):
        path = tmp_path / "set.zip"
        if not path.exists():
            zipped(tree(tmp_path / "set"))
        return ImageFolder(data_root=str(path), split="train", cache=self.cache, pipeline=pipeline)


class TestCachedZip(TestZip):
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


def test_the_cache_wants_one_size(tmp_path):
    folder = tree(tmp_path / "set")
    cv2.imwrite(str(folder / "train" / "dog" / "9.png"), np.zeros((9, 8, 3), np.uint8))
    with pytest.raises(DataError, match=r"9.png is 9x8 .* Use cache=False"):
        ImageFolder(data_root=str(folder), split="train", cache=True)


class FakeCIFAR10:
    classes = ("plane", "car")

    def __init__(self, root, *, train, download):
        rng = np.random.RandomState(int(train))
        self.data, self.targets = rng.randint(0, 256, (5, 32, 32, 3), np.uint8), [0, 1, 0, 1, 1]


class FakeFashionMNIST(FakeCIFAR10):
    def __init__(self, root, **kwargs):
        super().__init__(root, **kwargs)
        self.data, self.targets = torch.tensor(self.data[..., 0]), torch.tensor(self.targets)


class TestTorchvision(DatasetBehavior):
    loaders = (LoadImage,)

    @pytest.fixture(autouse=True)
    def _fakes(self, monkeypatch):
        monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCIFAR10)
        monkeypatch.setattr("torchvision.datasets.FashionMNIST", FakeFashionMNIST)

    def build(self, tmp_path, pipeline):
        return CIFAR10(data_root=str(tmp_path), pipeline=pipeline)

    def test_pixels_labels_and_subsets(self, tmp_path):
        dataset = CIFAR10(data_root=str(tmp_path), indices=[3, 0], pipeline=[LoadImage(), PackInputs()])
        item = dataset[0]
        assert item["data_samples"].gt_label.label == 1 and item["data_samples"].img_path == "CIFAR10/train/3"
        assert np.array_equal(item["inputs"].permute(1, 2, 0), FakeCIFAR10("", train=True, download=False).data[3])

    def test_labels_are_places_in_the_given_list(self, tmp_path):
        dataset = CIFAR10(data_root=str(tmp_path), metainfo={"classes": ["car", "ship", "plane"]})
        assert [dataset.get_data_info(i)["label"] for i in range(5)] == [2, 0, 2, 0, 0]
        assert dataset.metainfo["classes"] == ("car", "ship", "plane")
        with pytest.raises(DataError, match="CIFAR10 contains the class 'car'"):
            CIFAR10(data_root=str(tmp_path), metainfo={"classes": ["plane"]})

    def test_gray_is_repeated(self, tmp_path):
        item = FashionMNIST(data_root=str(tmp_path), train=False, pipeline=[LoadImage(), PackInputs()])[2]
        assert item["inputs"].shape == (3, 32, 32) and torch.equal(item["inputs"][0], item["inputs"][2])


def test_without_files_and_network_the_remedy_is_said(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="download=True"):
        CIFAR10(data_root=str(tmp_path))

    def offline(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    with pytest.raises(DataError, match="cannot be downloaded.*no route to host.*data/README.md"):
        CIFAR10(data_root=str(tmp_path), download=True)
