"""Test that images of a dataset are taken from a video of them, and videos that do not fit are refused."""

import cv2
import numpy as np
import pytest

from tests.helpers.hnv import small_hnv
from vislab.datasets.transforms import LoadImage, LoadVideoFrame
from vislab.errors import DataError
from vislab.io.video import read_video


@pytest.fixture
def images(tmp_path):
    """A folder of 12 images in natural order: 2.png is before 10.png."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((17, 22, 3), np.uint8))
    return folder


def test_frames_are_counted_in_natural_order(images, tmp_path, monkeypatch):
    frames = list(read_video(small_hnv(tmp_path / "a.hnv", frames=12)))
    monkeypatch.setenv("VIDEOS", str(tmp_path))
    step = LoadVideoFrame(source="$VIDEOS/a.hnv")
    for number in (0, 2, 10, 11):
        found = LoadImage()(step({"img_path": str(images / f"{number}.png")}))
        assert np.array_equal(found["img"], frames[number]) and found["ori_shape"] == (17, 22)


def test_frames_get_the_size_of_the_images(images, tmp_path):
    step = LoadVideoFrame(source=str(small_hnv(tmp_path / "a.hnv", size=(9, 11), frames=12)))
    assert step({"img_path": str(images / "2.png")})["img"].shape == (17, 22, 3)  # 8.5 rounded to 9
    turned = LoadVideoFrame(source=str(small_hnv(tmp_path / "b.hnv", size=(22, 17), frames=12)))
    with pytest.raises(DataError, match="are 22x17 .* is 17x22, of another shape: encode the same folder"):
        turned({"img_path": str(images / "2.png")})


def test_videos_that_do_not_fit_are_refused(images, tmp_path):
    video = str(small_hnv(tmp_path / "a.hnv", frames=7))
    with pytest.raises(DataError, match="has 7 frames, and .* has 12 images: encode the same folder"):
        LoadVideoFrame(source=video)({"img_path": str(images / "0.png")})
    video = str(small_hnv(tmp_path / "b.hnv", frames=12))
    with pytest.raises(DataError, match=r"99\.png is not in its folder"):
        LoadVideoFrame(source=video)({"img_path": str(images / "99.png")})
    with pytest.raises(DataError, match="does not exist .*vislab hnerv encode FOLDER"):
        LoadVideoFrame.check_arguments(source=str(tmp_path / "none.hnv"))


def test_predictions_take_the_given_image():
    record = {"img_path": "a.png", "img": np.zeros((5, 5, 3), np.uint8)}
    assert LoadVideoFrame(source="anything.hnv")(record) is record
