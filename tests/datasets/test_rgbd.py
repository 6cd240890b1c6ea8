"""Test folders of color and depth images: pairs by name, ranges of frames, invalid depth files."""

import numpy as np
import pytest

from tests.helpers.dataset_behavior import DepthBehavior
from tests.helpers.files import fill_folder, random_depth, random_image, write_image
from vislab.datasets.rgbd import RGBDFolder
from vislab.datasets.transforms import LoadDepth, LoadImage
from vislab.errors import DataError


class TestRGBDFolder(DepthBehavior):
    def build(self, root, pipeline):
        for i in range(5):
            write_image(root / f"frame-{i:02d}.color.jpg", random_image())
            write_image(root / f"frame-{i:02d}.depth.png", random_depth())
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
            write_image(tmp_path / "rgb" / f"{name}.png", random_image())
            write_image(tmp_path / "depth" / f"{name}.png", random_depth())
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
            write_image(path, np.full((40, 50), 65535, np.uint16))
            message = r"frame-01.depth.png has no known depth: all 2000 pixels are invalid"
        elif wrong == "other size":
            write_image(path, random_depth((20, 25)))
            message = r"frame-01.depth.png is 20x25 \(h x w\), its image .*frame-01.color.jpg is 40x50"
        elif wrong == "colors":
            write_image(path, random_image())
            message = "has 3 channels; a depth map has one"
        else:
            write_image(tmp_path / "frame-01.color.jpg", random_image((20, 50)))
            message = "is 20x50 .* minimum side"
        with pytest.raises(DataError, match=message):
            dataset[0]


def test_color_and_depth_in_subfolders(tmp_path):
    fill_folder(tmp_path, "rgb/x/0.JPG", "rgb/x/1.jpg", "depth/x/0.png", "depth/x/1.png")
    assert len(RGBDFolder(data_root=str(tmp_path), color="rgb/**.jpg", depth="depth/**.png")) == 2
