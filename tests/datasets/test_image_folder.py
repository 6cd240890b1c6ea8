"""Test class folders: labels by name, and an error for each invalid folder tree."""

import os
import zipfile

import cv2
import numpy as np
import pytest

from tests.helpers.dataset_behavior import DatasetBehavior
from tests.helpers.files import fill_folder
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.errors import DataError
from vislab.io.images import read_rgb


def make_tree(root, names=("cat", "dog"), count=2):
    rng = np.random.default_rng(0)
    for name in names:
        folder = root / "train" / name
        folder.mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / f"{i}.JPEG"), rng.integers(0, 255, (20, 30, 3), dtype=np.uint8))
    return root


class TestImageFolderBehavior(DatasetBehavior):
    loaders = (LoadImage,)

    def build(self, tmp_path, pipeline):
        if not (tmp_path / "train").exists():
            make_tree(tmp_path)
        return ImageFolder(data_root=str(tmp_path), split="train", pipeline=pipeline)


def _labels(dataset) -> list[tuple[str, int]]:
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(r["img_path"].split("train/")[1], r["label"]) for r in records]


def test_labels_follow_the_alphabet_or_the_given_order(tmp_path):
    make_tree(tmp_path, ("n02", "n01", "n10"), 1)
    (tmp_path / "train" / "n01" / "deep").mkdir()
    cv2.imwrite(str(tmp_path / "train" / "n01" / "deep" / "z.png"), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "train" / "n01" / "notes.txt").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    dataset = ImageFolder(data_root=str(tmp_path), split="train")
    assert dataset.metainfo["classes"] == ("n01", "n02", "n10")
    assert _labels(dataset) == [("n01/0.JPEG", 0), ("n01/deep/z.png", 0), ("n02/0.JPEG", 1), ("n10/0.JPEG", 2)]
    chosen = ImageFolder(data_root=str(tmp_path / "train"), classes=["n10", "n01"])
    assert _labels(chosen)[0] == ("n10/0.JPEG", 0) and len(chosen) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "trian"}, "trian is not a folder"),
        ({"split": "train/cat"}, "no class folders"),
        ({"split": "train", "classes": ["cta"]}, "'cta'.*did you mean 'cat'"),
        ({"split": "train"}, "empty contains no images"),
    ],
)
def test_wrong_trees_are_refused_at_start(tmp_path, arguments, message):
    make_tree(tmp_path)
    (tmp_path / "train" / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        ImageFolder(data_root=str(tmp_path), **arguments)


def test_a_number_of_images_is_spread_over_the_classes(tmp_path):
    make_tree(tmp_path, names=("a", "b", "c"), count=4)
    some = ImageFolder(data_root=str(tmp_path), split="train", indices=6)
    assert _labels(some) == [(f"{name}/{i}.JPEG", label) for label, name in enumerate("abc") for i in (0, 2)]
    assert _labels(ImageFolder(data_root=str(tmp_path), split="train", indices=12)) == _labels(
        ImageFolder(data_root=str(tmp_path), split="train")
    )
    assert [label for _, label in _labels(ImageFolder(data_root=str(tmp_path), split="train", indices=[11, 0]))] == [
        2,
        0,
    ]
    for wrong in (0, -3, 13):
        with pytest.raises(DataError, match=rf"indices={wrong}, but .*train has 12 images"):
            ImageFolder(data_root=str(tmp_path), split="train", indices=wrong)


def test_broken_image_is_named(tmp_path):
    make_tree(tmp_path)
    broken = tmp_path / "train" / "cat" / "0.JPEG"
    broken.write_bytes(broken.read_bytes()[:100])
    dataset = ImageFolder(data_root=str(tmp_path), split="train", pipeline=[LoadImage(), PackInputs()])
    with pytest.raises(DataError, match="cat/0.JPEG"):
        dataset[0]
    dataset[1]


def test_a_broken_file_in_an_archive_is_named(tmp_path):
    path = tmp_path / "set.zip"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.bmp"), pixels)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.bmp", "cat/a.bmp")
    data = path.read_bytes()
    for at in range(40, 140, 20):  # in the compressed pixels: zlib's own errors, too
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        os.utime(path, ns=(at, at))  # archives are kept open by their time of change
        with pytest.raises(DataError, match=r"set.zip"):
            read_rgb(f"{path}/cat/a.bmp")


def test_pictures_that_are_not_read_are_said(tmp_path, said):
    fill_folder(tmp_path, "cat/a.JPG", "cat/b.HEIC", "cat/notes.txt", "dog/c.jfif", "dog/.d.jpg")
    assert len(ImageFolder(data_root=str(tmp_path))) == 2
    assert len(said) == 1 and "cat: 1 files are skipped" in said[0] and ".heic" in said[0]
