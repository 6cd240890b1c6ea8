"""Folders: every image is found whatever the case of its suffix, and what is left out is said."""

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from vislab.datasets import pairs
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.pairs import pair_by_pattern
from vislab.datasets.rgbd import RGBDFolder
from vislab.datasets.semantic import SemSegFolder
from vislab.datasets.video_frames import VideoFrames
from vislab.errors import DataError
from vislab.io import listing
from vislab.io.listing import is_image, is_video, list_files, plain_ending


def fill(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_image(name):
            Image.new("L", (8, 8)).save(path, "PNG")
        else:
            path.write_text("no image")
    return root


@pytest.fixture
def said(monkeypatch):
    texts = []
    monkeypatch.setattr(listing.logger, "warning", texts.append)
    monkeypatch.setattr(pairs, "print_log", lambda text, *_, **__: texts.append(text))
    return texts


def test_names():
    assert is_image("a/b.JPEG") and is_image("b.tif") and not is_image("a/._b.jpg") and not is_image("jpg")
    assert is_video("A.MP4") and not is_video(".a.mp4") and not is_video("a.jpg")
    assert [plain_ending(n) for n in ("a.JPEG", ".Tiff", "x.Jpg/y", "_b.PNG")] == ["a.jpg", ".tif", "x.Jpg/y", "_b.png"]


def test_files_of_a_folder_with_links(tmp_path):
    fill(tmp_path, "a.png", "deep/b.png", ".hidden/c.png", "deep/.ipynb_checkpoints/b-checkpoint.png", "._a.png")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "deep" / "loop2").symlink_to(tmp_path / "deep")
    (tmp_path / "dead.png").symlink_to("nowhere.png")
    (tmp_path / "self.png").symlink_to("self.png")
    other = fill(tmp_path.parent / f"{tmp_path.name}_other", "d.png")
    (tmp_path / "linked").symlink_to(other)
    found = sorted(os.path.relpath(path, tmp_path) for path in list_files(tmp_path))
    assert found == ["a.png", "dead.png", "deep/b.png", "linked/d.png", "self.png"]
    with pytest.raises(DataError, match="cannot list the folder .*gone"):
        list(list_files(tmp_path / "gone"))


def test_suffixes_in_any_case_are_paired(tmp_path, said):
    fill(tmp_path, *(f"images/i{k}{suffix}" for k, suffix in enumerate((".jpg", ".JPG", ".jpeg", ".Jpg"))))
    fill(tmp_path, *(f"labels/i{k}{suffix}" for k, suffix in enumerate((".png", ".PNG", ".png", ".Png"))))
    fill(tmp_path, "images/._i0.jpg", "images/i9.png", "images/Thumbs.db")
    (tmp_path / "images" / "folder.jpg").mkdir()
    dataset = SemSegFolder(data_root=str(tmp_path))
    assert [os.path.basename(dataset[k]["img_path"]) for k in range(4)] == ["i0.jpg", "i1.JPG", "i2.jpeg", "i3.Jpg"]
    assert [os.path.basename(dataset[k]["seg_map_path"]) for k in range(4)] == ["i0.png", "i1.PNG", "i2.png", "i3.Png"]
    assert len(dataset) == 4 and not said


def test_color_and_depth_in_subfolders(tmp_path):
    fill(tmp_path, "rgb/x/0.JPG", "rgb/x/1.jpg", "depth/x/0.png", "depth/x/1.png")
    assert len(RGBDFolder(data_root=str(tmp_path), color="rgb/**.jpg", depth="depth/**.png")) == 2


@pytest.mark.parametrize("root", [".", "", "./", "sub/.."])
def test_a_relative_root_and_names_around_the_star(tmp_path, monkeypatch, root):
    fill(tmp_path, "a.color.JPG", "a.depth.png", "b.color.jpg", "b.depth.png", "sub/x")
    monkeypatch.chdir(tmp_path)
    assert [name for name, *_ in pair_by_pattern(root, "*.color.jpg", "*.depth.png")] == ["a", "b"]


def test_a_folder_for_each_sample(tmp_path):
    fill(tmp_path, "s1/rgb.png", "s1/d.png", "s2/rgb.png", "s2/d.png")
    assert [name for name, *_ in pair_by_pattern(tmp_path, "*/rgb.png", "*/d.png")] == ["s1", "s2"]


def test_labels_without_an_image_are_said(tmp_path, said):
    fill(tmp_path, "images/a.jpg", "images/b.png", "images/c.bmp", "labels/a.png", "labels/b.png", "labels/c.png")
    assert len(pair_by_pattern(tmp_path, "images/*.jpg", "labels/*.png")) == 1
    assert "2 of 3 label files have no image that matches 'images/*.jpg'" in said[0] and "b.png" in said[0]


def test_two_images_of_one_name_are_refused(tmp_path):
    fill(tmp_path, "images/a.jpg", "images/a.JPG", "labels/a.png")
    with pytest.raises(DataError, match="a.jpg and .*a.JPG are two images with the same name"):
        pair_by_pattern(tmp_path, "images/*.jpg", "labels/*.png")
    os.remove(tmp_path / "images" / "a.JPG")
    fill(tmp_path, "labels/a.PNG")  # of two label files the one that matches to the letter
    assert pair_by_pattern(tmp_path, "images/*.jpg", "labels/*.png")[0][2].endswith("labels/a.png")


def test_a_frame_twice_is_refused(tmp_path):
    for name in ("1.png", "2.png", "2.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="contains 2.(png|jpg) and 2.(png|jpg), which have the same frame name"):
        VideoFrames(source=str(tmp_path))


def test_a_cut_frame_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    for k, frame in enumerate(noise):
        cv2.imwrite(str(tmp_path / f"{k}.jpg"), frame)
    data = (tmp_path / "1.jpg").read_bytes()
    whole = VideoFrames(source=str(tmp_path)).frames[1].copy()
    np.testing.assert_array_equal(whole, cv2.imread(str(tmp_path / "1.jpg"))[..., ::-1])
    (tmp_path / "1.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="1.jpg cannot be decoded: it is truncated"):
        VideoFrames(source=str(tmp_path))


def test_frames_with_odd_names(tmp_path):
    for name in ("².png", "a2.png", "a10.png", "._a3.png", "1.PNG"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "folder.png").mkdir()
    assert len(VideoFrames(source=str(tmp_path))) == 4


def test_pictures_that_are_not_read_are_said(tmp_path, said):
    fill(tmp_path, "cat/a.JPG", "cat/b.HEIC", "cat/notes.txt", "dog/c.jfif", "dog/.d.jpg")
    assert len(ImageFolder(data_root=str(tmp_path))) == 2
    assert len(said) == 1 and "cat: 1 files are skipped" in said[0] and ".heic" in said[0]
