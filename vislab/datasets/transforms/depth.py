"""Crops of the depth benchmarks: the invalid border of NYU Depth and the evaluation window of KITTI."""

from typing import Literal

from vislab.datasets.transforms import functional
from vislab.errors import DataError, check_choice
from vislab.registry import TRANSFORMS

# rows and columns of a 480x640 NYU frame in which color and depth are both valid
NYU_ROWS = (45, 472)
NYU_COLUMNS = (43, 608)
KITTI_WINDOW = (352, 1216)


@TRANSFORMS.register_module()
class NYUBorder:
    """Remove or mask the invalid border of NYU's 480x640 frames, outside rows 45:472 and columns 43:608.

    Required keys: img, of size 480x640.
    Modified keys: img, img_shape, moved, all labels (gt_areas is removed); with mode="mask" gt_depth only.

    Args:
        mode: "crop" crops image and labels to 427x565; "mask" keeps the size and sets the depth of the border to
            unknown.
    """

    def __init__(self, *, mode: Literal["crop", "mask"] = "crop") -> None:
        check_choice("NYUBorder: mode", mode, ("crop", "mask"))
        self.mode = mode

    def __call__(self, results: dict) -> dict:
        shape = tuple(results["img"].shape[:2])
        if shape != (480, 640):
            raise DataError(
                f"{results.get('img_path')} is {shape[0]}x{shape[1]} (h x w); NYUBorder needs frames of 480x640"
            )
        (top, bottom), (left, right) = NYU_ROWS, NYU_COLUMNS
        if self.mode == "crop":
            functional.crop(results, (top, left, bottom - top, right - left))
        elif "gt_depth" in results:
            inner = results["gt_depth"][top:bottom, left:right].copy()
            results["gt_depth"][...] = 0
            results["gt_depth"][top:bottom, left:right] = inner
        return results


def kitti_window(shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the KITTI evaluation window (top, left, height, width): 352x1216, bottom center.

    Raises:
        DataError: The image is smaller than the window.
    """
    height, width = KITTI_WINDOW
    if shape[0] < height or shape[1] < width:
        raise DataError(f"an image of {shape[0]}x{shape[1]} (h x w) is smaller than KITTI's window {height}x{width}")
    return shape[0] - height, (shape[1] - width) // 2, height, width


@TRANSFORMS.register_module()
class KittiCrop:
    """Crop image and labels to KITTI's evaluation window of 352x1216, which also becomes the frame of the predictions.

    Required keys: img.
    Modified keys: img, img_shape, ori_shape, scale_factor, moved, all labels (gt_areas is removed)."""

    def __call__(self, results: dict) -> dict:
        functional.crop(results, kitti_window(results["img"].shape[:2]))
        results["ori_shape"] = results["img"].shape[
            :2
        ]  # the window is the new frame, nothing was moved or scaled in it
        results["scale_factor"] = (1.0, 1.0)
        results.pop("moved", None)
        return results
