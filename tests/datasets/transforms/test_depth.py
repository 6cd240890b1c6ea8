"""Test the crops of depth benchmarks: the white border of NYU and the lower window of KITTI."""

import numpy as np
import pytest

from vislab.datasets.transforms import KittiCrop, LoadImage, NYUBorder, RandomFlip
from vislab.datasets.transforms.depth import kitti_window
from vislab.errors import ConfigError, DataError


def sample(h: int, w: int) -> dict:
    """An image and a depth map whose values tell their place."""
    y, x = np.mgrid[:h, :w]
    img = np.stack([y % 256, x % 256, (y // 256) * 16 + x // 256], axis=-1).astype(np.uint8)
    return LoadImage()({"img": img}) | {"gt_depth": (y * 10_000 + x + 1).astype(np.float32)}


def test_the_border_of_nyu_is_cut_or_unknown():
    """Rows 45 to 471 and columns 43 to 607 are valid, as in the toolbox of the data set."""
    cut = NYUBorder(mode="crop")(sample(480, 640))
    assert cut["img"].shape == (427, 565, 3) and cut["gt_depth"].shape == (427, 565)
    assert cut["gt_depth"][0, 0] == 450_044 and cut["gt_depth"][-1, -1] == 4_710_608
    assert cut["img"][0, 0].tolist() == [45, 43, 0] and cut["img_shape"] == (427, 565)
    masked = NYUBorder(mode="mask")(sample(480, 640))
    assert masked["img"].shape == (480, 640, 3) and np.count_nonzero(masked["gt_depth"]) == 427 * 565
    np.testing.assert_array_equal(masked["gt_depth"][45:472, 43:608], cut["gt_depth"])
    image_only = sample(480, 640)
    del image_only["gt_depth"]
    assert NYUBorder(mode="mask")(image_only)["img"].shape == (480, 640, 3)


def test_frames_of_other_sizes_and_modes_are_refused():
    with pytest.raises(DataError, match=r"is 427x565 \(h x w\); NYUBorder needs frames of 480x640"):
        NYUBorder()(sample(427, 565))
    with pytest.raises(ConfigError, match="mode=.cut. is not one of crop, mask"):
        NYUBorder(mode="cut")


@pytest.mark.parametrize(
    ("shape", "window"),
    [((375, 1242), (23, 13)), ((376, 1241), (24, 12)), ((370, 1224), (18, 4)), ((352, 1216), (0, 0))],
)
def test_the_window_of_kitti(shape, window):
    """At the bottom, in the middle: the sizes of the set's own cameras."""
    assert kitti_window(shape) == (*window, 352, 1216)


def test_the_window_becomes_the_frame():
    """A crop resets the record of flips: predictions are compared in this window."""
    results = KittiCrop()(RandomFlip(prob=1)(sample(375, 1242)))
    assert results["img"].shape[:2] == results["gt_depth"].shape == results["ori_shape"] == (352, 1216)
    assert results["gt_depth"][0, 0] == 230_000 + 1242 - 13 and results["scale_factor"] == (1.0, 1.0)
    assert "moved" not in results
    for shape in ((351, 1216), (352, 1215)):
        with pytest.raises(DataError, match="is smaller than KITTI's window 352x1216"):
            KittiCrop()(sample(*shape))
