"""Test folder listings: images with suffixes of any case, and reports of skipped files."""

import os

import pytest

from tests.helpers.files import fill_folder
from vislab.errors import DataError
from vislab.io.listing import is_image, is_video, list_files, plain_ending


def test_names():
    assert is_image("a/b.JPEG") and is_image("b.tif") and not is_image("a/._b.jpg") and not is_image("jpg")
    assert is_video("A.MP4") and not is_video(".a.mp4") and not is_video("a.jpg")
    assert [plain_ending(n) for n in ("a.JPEG", ".Tiff", "x.Jpg/y", "_b.PNG")] == ["a.jpg", ".tif", "x.Jpg/y", "_b.png"]


def test_files_of_a_folder_with_links(tmp_path):
    fill_folder(tmp_path, "a.png", "deep/b.png", ".hidden/c.png", "deep/.ipynb_checkpoints/b-checkpoint.png", "._a.png")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "deep" / "loop2").symlink_to(tmp_path / "deep")
    (tmp_path / "dead.png").symlink_to("nowhere.png")
    (tmp_path / "self.png").symlink_to("self.png")
    other = fill_folder(tmp_path.parent / f"{tmp_path.name}_other", "d.png")
    (tmp_path / "linked").symlink_to(other)
    found = sorted(os.path.relpath(path, tmp_path) for path in list_files(tmp_path))
    assert found == ["a.png", "dead.png", "deep/b.png", "linked/d.png", "self.png"]
    with pytest.raises(DataError, match="cannot list the folder .*gone"):
        list(list_files(tmp_path / "gone"))
