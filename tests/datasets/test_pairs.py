"""Test the pairing of image and label files by name; unpaired files raise an error."""

import os

import pytest

from tests.helpers.files import fill_folder
from vislab.datasets.pairs import pair_by_pattern, read_list
from vislab.datasets.semantic import SemSegFolder
from vislab.errors import DataError


def test_suffixes_in_any_case_are_paired(tmp_path, said):
    fill_folder(tmp_path, *(f"images/i{k}{suffix}" for k, suffix in enumerate((".jpg", ".JPG", ".jpeg", ".Jpg"))))
    fill_folder(tmp_path, *(f"labels/i{k}{suffix}" for k, suffix in enumerate((".png", ".PNG", ".png", ".Png"))))
    fill_folder(tmp_path, "images/._i0.jpg", "images/i9.png", "images/Thumbs.db")
    (tmp_path / "images" / "folder.jpg").mkdir()
    dataset = SemSegFolder(data_root=str(tmp_path))
    assert [os.path.basename(dataset[k]["img_path"]) for k in range(4)] == ["i0.jpg", "i1.JPG", "i2.jpeg", "i3.Jpg"]
    assert [os.path.basename(dataset[k]["seg_map_path"]) for k in range(4)] == ["i0.png", "i1.PNG", "i2.png", "i3.Png"]
    assert len(dataset) == 4 and not said


@pytest.mark.parametrize("root", [".", "", "./", "sub/.."])
def test_a_relative_root_and_names_around_the_star(tmp_path, monkeypatch, root):
    fill_folder(tmp_path, "a.color.JPG", "a.depth.png", "b.color.jpg", "b.depth.png", "sub/x")
    monkeypatch.chdir(tmp_path)
    assert [name for name, *_ in pair_by_pattern(root, "*.color.jpg", "*.depth.png")] == ["a", "b"]


def test_a_folder_for_each_sample(tmp_path):
    fill_folder(tmp_path, "s1/rgb.png", "s1/d.png", "s2/rgb.png", "s2/d.png")
    assert [name for name, *_ in pair_by_pattern(tmp_path, "*/rgb.png", "*/d.png")] == ["s1", "s2"]


def test_labels_without_an_image_are_said(tmp_path, said):
    fill_folder(
        tmp_path, "images/a.jpg", "images/b.png", "images/c.bmp", "labels/a.png", "labels/b.png", "labels/c.png"
    )
    assert len(pair_by_pattern(tmp_path, "images/*.jpg", "labels/*.png")) == 1
    assert "2 of 3 label files have no image that matches 'images/*.jpg'" in said[0] and "b.png" in said[0]


def test_two_images_of_one_name_are_refused(tmp_path):
    fill_folder(tmp_path, "images/a.jpg", "images/a.JPG", "labels/a.png")
    with pytest.raises(DataError, match="a.jpg and .*a.JPG are two images with the same name"):
        pair_by_pattern(tmp_path, "images/*.jpg", "labels/*.png")
    os.remove(tmp_path / "images" / "a.JPG")
    fill_folder(tmp_path, "labels/a.PNG")  # of two label files the one that matches to the letter
    assert pair_by_pattern(tmp_path, "images/*.jpg", "labels/*.png")[0][2].endswith("labels/a.png")


def test_patterns_must_hold_one_star(tmp_path):
    for images, labels in (("a.jpg", "*.png"), ("*/*.jpg", "*.png"), ("*.jpg", "a.png"), ("**/*.jpg", "*.png")):
        with pytest.raises(DataError, match=r"must contain '\*+' exactly once"):
            pair_by_pattern(tmp_path, images, labels)


def test_lists_are_split_at_white_space(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n a.jpg\tb.png  518.8 more\n\nc.jpg d.png\n")
    assert read_list(path, ("image", "depth")) == [["a.jpg", "b.png", "518.8", "more"], ["c.jpg", "d.png"]]
    with pytest.raises(DataError, match=r"list.txt, line 4: 'c.jpg d.png' is not 'image depth focal'"):
        read_list(path, ("image", "depth", "focal"))
    path.write_text(" \n")
    with pytest.raises(DataError, match="the list .*list.txt is empty"):
        read_list(path, ("image",))
    path.write_bytes(b"\xef\xbb\xbfa.jpg\r\nb.jpg")
    assert read_list(path, ("image",)) == [["a.jpg"], ["b.jpg"]]
    path.write_text("a.jpg", encoding="utf-16")
    with pytest.raises(DataError, match=r"cannot read the list .*list.txt: 'utf-8' codec"):
        read_list(path, ("image",))
    with pytest.raises(DataError, match=r"cannot read the list .*gone.txt: No such file"):
        read_list(tmp_path / "gone.txt", ("image",))
