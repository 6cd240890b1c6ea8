"""Test NYU Depth v2 and KITTI in their published layouts, and invalid lists."""

import cv2
import pytest

from tests.helpers.dataset_behavior import DepthBehavior
from tests.helpers.files import random_depth, random_image, write_image
from vislab.datasets.depth_lists import KittiEigen, NYUDepth
from vislab.datasets.transforms import KittiCrop, LoadDepth, LoadImage, NYUBorder
from vislab.errors import DataError


class TestNYU(DepthBehavior):
    loaders = (LoadImage, LoadDepth, NYUBorder)

    def build(self, root, pipeline):
        lines = []
        for i in range(2):
            write_image(root / "sync" / "kitchen_0001" / f"rgb_{i:05d}.jpg", random_image((480, 640)))
            write_image(root / "sync" / "kitchen_0001" / f"sync_depth_{i:05d}.png", random_depth((480, 640)))
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


class TestKitti(DepthBehavior):
    loaders = (LoadImage, lambda: LoadDepth(scale=1 / 256), KittiCrop)

    def build(self, root, pipeline):
        lines = []
        for i, split in enumerate(("train", "val")):
            drive = f"2011_09_26_drive_000{i}_sync"
            write_image(root / "raw" / "2011_09_26" / drive / "image_02/data/0000000005.png", random_image((375, 1242)))
            depth = f"{drive}/proj_depth/groundtruth/image_02/0000000005.png"
            write_image(root / "data_depth_annotated" / split / depth, random_depth((375, 1242)))
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
            dataset.fit_frame(random_image())
