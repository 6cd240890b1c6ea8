"""Test datasets read by torchvision: pixels, labels, and the error for missing files."""

import numpy as np
import pytest
import torch

from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.torchvision_sets import CIFAR10, FashionMNIST
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.errors import DataError


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


def test_nothing_is_downloaded_offline(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("torchvision.datasets.CIFAR10.download", lambda self: asked.append(self))
    monkeypatch.setenv("VISLAB_OFFLINE", "1")
    with pytest.raises(DataError, match="VISLAB_OFFLINE is set: copy torchvision's files of CIFAR10 there"):
        CIFAR10(data_root=str(tmp_path), download=True)
    assert asked == []
