"""The depth and segmentation sets read their published layouts, and name what is wrong in one message."""

import cv2
import numpy as np
import pytest

from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.depth_lists import KittiEigen, NYUDepth
from vislab.datasets.rgbd import RGBDFolder
from vislab.datasets.semantic import ADE20K, CamVid, Cityscapes, SemSegFolder
from vislab.datasets.semantic_classes import CITYSCAPES_IDS
from vislab.datasets.transforms import KittiCrop, LoadDepth, LoadImage, LoadSemSeg, NYUBorder
from vislab.errors import DataError

RNG = np.random.default_rng(0)


def write(path, array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def image(shape=(40, 50)) -> np.ndarray:
    return RNG.integers(0, 256, (*shape, 3), np.uint8)


def millimeters(shape=(40, 50)) -> np.ndarray:
    depth = RNG.integers(500, 9000, shape, np.uint16)
    depth[:3] = 0
    return depth


class _Depth(DatasetBehavior):
    loaders = (LoadImage, LoadDepth)

    def test_metainfo_names_the_classes(self):
        """Depth has none."""


class TestRGBDFolder(_Depth):
    def build(self, root, pipeline):
        for i in range(5):
            write(root / f"frame-{i:02d}.color.jpg", image())
            write(root / f"frame-{i:02d}.depth.png", millimeters())
        return RGBDFolder(data_root=str(root), frames=(1, 4), pipeline=pipeline)

    def test_range_of_frames(self, tmp_path):
        dataset = self.build(tmp_path, [])
        assert [dataset.get_data_info(i)["img_path"][-12:] for i in range(len(dataset))] == [
            f"{i:02d}.color.jpg" for i in (1, 2, 3)
        ]
        with pytest.raises(DataError, match=r"frames=\(9, None\) selects none of the 5 frames"):
            RGBDFolder(data_root=str(tmp_path), frames=(9, None))
        (tmp_path / "frame-03.depth.png").unlink()
        with pytest.raises(DataError, match=r"1 of 5 images.*no label file.*frame-03.depth.png"):
            RGBDFolder(data_root=str(tmp_path))

    def test_folders_and_their_subfolders(self, tmp_path):
        for name in ("a/1", "b/1"):
            write(tmp_path / "rgb" / f"{name}.png", image())
            write(tmp_path / "depth" / f"{name}.png", millimeters())
        assert len(RGBDFolder(data_root=str(tmp_path), color="rgb/**.png", depth="depth/**.png")) == 2
        assert len(RGBDFolder(data_root=str(tmp_path), color="rgb/a/*.png", depth="depth/a/*.png")) == 1
        with pytest.raises(DataError, match="no image in"):
            RGBDFolder(data_root=str(tmp_path), color="rgb/*.jpg", depth="depth/*.png")
        with pytest.raises(DataError, match="in place of the image name"):
            RGBDFolder(data_root=str(tmp_path), color="rgb/a.png", depth="depth/*.png")

    @pytest.mark.parametrize("wrong", ["all invalid", "other size", "colors", "small"])
    def test_bad_input(self, tmp_path, wrong):
        dataset = self.build(tmp_path, [LoadImage(min_size=32), LoadDepth(invalid=(0, 65535))])
        path, message = tmp_path / "frame-01.depth.png", ""
        if wrong == "all invalid":
            write(path, np.full((40, 50), 65535, np.uint16))
            message = r"frame-01.depth.png has no known depth: all 2000 pixels are invalid"
        elif wrong == "other size":
            write(path, millimeters((20, 25)))
            message = r"frame-01.depth.png is 20x25 \(h x w\), its image .*frame-01.color.jpg is 40x50"
        elif wrong == "colors":
            write(path, image())
            message = "has 3 channels; a depth map has one"
        else:
            write(tmp_path / "frame-01.color.jpg", image((20, 50)))
            message = "is 20x50 .* minimum side"
        with pytest.raises(DataError, match=message):
            dataset[0]


class TestNYU(_Depth):
    loaders = (LoadImage, LoadDepth, NYUBorder)

    def build(self, root, pipeline):
        lines = []
        for i in range(2):
            write(root / "sync" / "kitchen_0001" / f"rgb_{i:05d}.jpg", image((480, 640)))
            write(root / "sync" / "kitchen_0001" / f"sync_depth_{i:05d}.png", millimeters((480, 640)))
            lines.append(f"/kitchen_0001/rgb_{i:05d}.jpg /kitchen_0001/sync_depth_{i:05d}.png 518.8579")
        (root / "train.txt").write_text("\n".join(lines))
        return NYUDepth(data_root=str(root), ann_file="train.txt", pipeline=pipeline)

    def test_border(self, tmp_path):
        dataset = self.build(tmp_path, [LoadImage(), LoadDepth()])
        results = dataset[0]
        assert results["focal"] == pytest.approx(518.8579) and 0.5 <= results["gt_depth"].max() < 9
        depth = results["gt_depth"].copy()
        masked = NYUBorder(mode="mask")(results)["gt_depth"]
        assert masked.shape == (480, 640) and not masked[:45].any() and not masked[:, 608:].any()
        assert (masked[45:472, 43:608] == depth[45:472, 43:608]).all()
        assert NYUBorder()(dataset[0])["img"].shape == (427, 565, 3)

    def test_lists_that_do_not_fit(self, tmp_path):
        self.build(tmp_path, [])
        (tmp_path / "short.txt").write_text("\na.jpg b.png 1\nonly_one.jpg\n")
        with pytest.raises(DataError, match="short.txt, line 3: 'only_one.jpg' is not 'image depth'"):
            NYUDepth(data_root=str(tmp_path), ann_file="short.txt")
        with pytest.raises(DataError, match="its first line refers to .*/elsewhere/kitchen"):
            NYUDepth(data_root=str(tmp_path), ann_file="train.txt", data_prefix={"img": "elsewhere"})
        with pytest.raises(DataError, match="cannot read the list"):
            NYUDepth(data_root=str(tmp_path), ann_file="nothing.txt")


class TestKitti(_Depth):
    loaders = (LoadImage, lambda: LoadDepth(scale=1 / 256), KittiCrop)

    def build(self, root, pipeline):
        lines = []
        for i, split in enumerate(("train", "val")):
            drive = f"2011_09_26_drive_000{i}_sync"
            write(root / "raw" / "2011_09_26" / drive / "image_02/data/0000000005.png", image((375, 1242)))
            depth = f"{drive}/proj_depth/groundtruth/image_02/0000000005.png"
            write(root / "data_depth_annotated" / split / depth, millimeters((375, 1242)))
            lines.append(f"2011_09_26/{drive}/image_02/data/0000000005.png {depth} 721.5377")
        lines.append(f"2011_09_26/{drive}/image_02/data/0000000006.png None 721.5377")
        (root / "eigen.txt").write_text("\n".join(lines))
        return KittiEigen(data_root=str(root), ann_file="eigen.txt", pipeline=pipeline)

    def test_images_without_depth_are_left_out_and_the_window_is_the_lower_middle(self, tmp_path):
        dataset = self.build(tmp_path, [LoadImage(), LoadDepth(scale=1 / 256), KittiCrop()])
        assert len(dataset) == 2 and dataset.without_depth == 1
        results = dataset[0]
        assert results["img"].shape[:2] == results["gt_depth"].shape == results["ori_shape"] == (352, 1216)
        whole = cv2.imread(results["img_path"])[..., ::-1]
        assert (results["img"] == whole[23:, 13:1229]).all() and (dataset.fit_frame(whole) == results["img"]).all()
        with pytest.raises(DataError, match="smaller than KITTI's window"):
            dataset.fit_frame(image())


class TestADE20K(DatasetBehavior):
    loaders = (LoadImage, lambda: LoadSemSeg(num_classes=150))

    def build(self, root, pipeline):
        for i in range(2):
            write(root / "images" / "training" / f"ADE_train_{i:08d}.jpg", image())
            write(root / "annotations" / "training" / f"ADE_train_{i:08d}.png", self.labels())
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
        write(tmp_path / "annotations" / "training" / "ADE_train_00000000.png", shifted)
        with pytest.raises(DataError, match=r"contains the value 255 .* files of this dataset contain 0..150"):
            dataset[0]


class TestCityscapes(DatasetBehavior):
    loaders = (LoadImage, LoadSemSeg)

    def build(self, root, pipeline):
        for city in ("aachen", "bochum"):
            name = f"{city}/{city}_000000_000019"
            write(root / "leftImg8bit" / "train" / f"{name}_leftImg8bit.png", image())
            ids = (np.arange(2000) % 34).astype(np.uint8).reshape(40, 50)
            write(root / "gtFine" / "train" / f"{name}_gtFine_labelIds.png", ids)
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
            write(root / "train" / f"{i}.png", image())
            write(root / "trainannot" / f"{i}.png", (np.arange(2000) % 12).astype(np.uint8).reshape(40, 50))
            lines.append(f"train/{i}.png trainannot/{i}.png")
        (root / "train.txt").write_text("\n".join(lines))
        return CamVid(data_root=str(root), ann_file="train.txt", pipeline=pipeline)

    def test_bad_input(self, tmp_path):
        dataset = self.build(tmp_path, [LoadImage(), LoadSemSeg()])
        assert set(np.unique(dataset[0]["gt_sem_seg"])) == {*range(11), 255}
        write(tmp_path / "trainannot" / "0.png", np.full((40, 50), 12, np.uint8))
        with pytest.raises(DataError, match=r"0.png contains the value 12 \(at 2000 pixels\).*contain 0..11"):
            dataset[0]
        write(tmp_path / "trainannot" / "0.png", image())
        with pytest.raises(DataError, match="mode RGB; a label image contains one class index per pixel"):
            dataset[0]
        (tmp_path / "train.txt").write_text("train/0.png trainannot/9.png")
        with pytest.raises(DataError, match="refers to 1 files that do not exist"):
            CamVid(data_root=str(tmp_path), ann_file="train.txt")


def test_any_folder_of_labels(tmp_path):
    write(tmp_path / "images" / "a.jpg", image())
    write(tmp_path / "labels" / "a.png", np.full((40, 50), 2, np.uint8))
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
