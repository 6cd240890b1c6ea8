"""Test depth and segmentation datasets in their published layouts, and errors of invalid ones."""

import numpy as np
import pytest

from tests.helpers.dataset_behavior import DatasetBehavior
from tests.helpers.files import random_image, write_image
from vislab.datasets.rgbd import RGBDFolder
from vislab.datasets.semantic import ADE20K, CamVid, Cityscapes, SemSegFolder
from vislab.datasets.semantic_classes import CITYSCAPES_IDS
from vislab.datasets.transforms import LoadDepth, LoadImage, LoadSemSeg
from vislab.errors import DataError


class TestADE20K(DatasetBehavior):
    loaders = (LoadImage, lambda: LoadSemSeg(num_classes=150))

    def build(self, root, pipeline):
        for i in range(2):
            write_image(root / "images" / "training" / f"ADE_train_{i:08d}.jpg", random_image())
            write_image(root / "annotations" / "training" / f"ADE_train_{i:08d}.png", self.labels())
        return ADE20K(data_root=str(root), pipeline=pipeline)

    @staticmethod
    def labels():
        return (np.arange(2000) % 151).astype(np.uint8).reshape(40, 50)

    def test_the_zero_label_is_reduced_exactly_once(self, tmp_path):
        dataset = self.build(tmp_path, [LoadImage(), LoadSemSeg(), LoadSemSeg()])  # loading twice shifts once
        found, raw = dataset[0]["gt_sem_seg"], self.labels()
        assert (found[raw == 0] == 255).all() and (found[raw > 0] == raw[raw > 0] - 1).all()
        twice = self.build(tmp_path, [LoadImage(), LoadSemSeg(reduce_zero_label=True)])
        with pytest.raises(DataError, match="remove reduce_zero_label"):
            twice[0]
        shifted = np.where(raw == 0, 255, raw - 1).astype(np.uint8)  # a file that somebody has shifted before
        write_image(tmp_path / "annotations" / "training" / "ADE_train_00000000.png", shifted)
        with pytest.raises(DataError, match=r"contains the value 255 .* files of this dataset contain 0..150"):
            dataset[0]


class TestCityscapes(DatasetBehavior):
    loaders = (LoadImage, LoadSemSeg)

    def build(self, root, pipeline):
        for city in ("aachen", "bochum"):
            name = f"{city}/{city}_000000_000019"
            write_image(root / "leftImg8bit" / "train" / f"{name}_leftImg8bit.png", random_image())
            ids = (np.arange(2000) % 34).astype(np.uint8).reshape(40, 50)
            write_image(root / "gtFine" / "train" / f"{name}_gtFine_labelIds.png", ids)
        return Cityscapes(data_root=str(root), pipeline=pipeline)

    def test_ids_become_classes(self, tmp_path):
        found = self.build(tmp_path, [LoadImage(), LoadSemSeg()])[0]["gt_sem_seg"].ravel()
        assert (found[7], found[33], found[26], found[0], found[30]) == (0, 18, 13, 255, 255)
        assert sorted(set(CITYSCAPES_IDS.values())) == [*range(19), 255]


class TestCamVid(DatasetBehavior):
    loaders = (LoadImage, LoadSemSeg)

    def build(self, root, pipeline):
        lines = []
        for i in range(2):
            write_image(root / "train" / f"{i}.png", random_image())
            write_image(root / "trainannot" / f"{i}.png", (np.arange(2000) % 12).astype(np.uint8).reshape(40, 50))
            lines.append(f"train/{i}.png trainannot/{i}.png")
        (root / "train.txt").write_text("\n".join(lines))
        return CamVid(data_root=str(root), ann_file="train.txt", pipeline=pipeline)

    def test_bad_input(self, tmp_path):
        dataset = self.build(tmp_path, [LoadImage(), LoadSemSeg()])
        assert set(np.unique(dataset[0]["gt_sem_seg"])) == {*range(11), 255}
        write_image(tmp_path / "trainannot" / "0.png", np.full((40, 50), 12, np.uint8))
        with pytest.raises(DataError, match=r"0.png contains the value 12 \(at 2000 pixels\).*contain 0..11"):
            dataset[0]
        write_image(tmp_path / "trainannot" / "0.png", random_image())
        with pytest.raises(DataError, match="mode RGB; a label image contains one class index per pixel"):
            dataset[0]
        (tmp_path / "train.txt").write_text("train/0.png trainannot/9.png")
        with pytest.raises(DataError, match="refers to 1 files that do not exist"):
            CamVid(data_root=str(tmp_path), ann_file="train.txt")


def test_any_folder_of_labels(tmp_path):
    write_image(tmp_path / "images" / "a.jpg", random_image())
    write_image(tmp_path / "labels" / "a.png", np.full((40, 50), 2, np.uint8))
    pipeline = [LoadImage(), LoadSemSeg()]
    assert SemSegFolder(data_root=str(tmp_path), classes=("x", "y", "z"), pipeline=pipeline)[0]["gt_sem_seg"].max() == 2
    with pytest.raises(DataError, match="contains the value 2"):
        SemSegFolder(data_root=str(tmp_path), classes=("x", "y"), pipeline=pipeline)[0]


@pytest.mark.data
def test_real_sets(data_root):
    kitchen = RGBDFolder(
        data_root=str(data_root / "rgbd_kitchen"), pipeline=[LoadImage(), LoadDepth(invalid=(0, 65535))]
    )
    assert len(kitchen) == 200
    depth = kitchen[0]["gt_depth"]
    assert depth.shape == (480, 640) and depth[depth > 0].min() > 0.5 and depth.max() < 5
    for split, count in (("train", 90), ("val", 30)):
        camvid = CamVid(
            data_root=str(data_root / "camvid"), ann_file=f"{split}.txt", pipeline=[LoadImage(), LoadSemSeg()]
        )
        assert len(camvid) == count and set(np.unique(camvid[0]["gt_sem_seg"])) <= {*range(11), 255}
