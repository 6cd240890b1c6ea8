"""Test the pairing of images with label files, and the recognition of training and validation parts."""

import pytest
from PIL import Image

from tests.helpers.files import fill_folder
from vislab.apis.new_config.listing import image_sizes, pair_files, relative_files, split_files


@pytest.mark.parametrize(
    ("files", "images", "labels"),
    [
        (["images/a.jpg", "images/b.jpg", "masks/a.txt", "masks/b.txt"], "images/*.jpg", "masks/*.txt"),
        (["f-1.color.jpg", "f-1.depth.txt", "f-2.color.jpg", "f-2.depth.txt"], "*.color.jpg", "*.depth.txt"),
        (["img_1.jpg", "img_2.jpg", "mask_1.txt", "mask_2.txt"], "img_*.jpg", "mask_*.txt"),
        (["rgb/x/1.jpg", "rgb/y/1.jpg", "d/x/1.txt", "d/y/1.txt"], "rgb/**.jpg", "d/**.txt"),
        (["i/a.JPG", "i/b.JPEG", "l/a.txt", "l/b.txt"], "i/*.jpg", "l/*.txt"),
        (["i/c/a_left.png", "i/d/b_left.png", "g/c/a_ids.txt", "g/d/b_ids.txt"], "i/**_left.png", "g/**_ids.txt"),
    ],
)
def test_files_with_the_same_names_are_pairs(files, images, labels):
    found = pair_files(files, (".txt",))
    assert (found.images, found.labels) == (images, labels)
    assert len(found.names) == 2 and not found.alone
    assert {path.lower() for path in found.paths(found.labels)} == {path for path in files if path.endswith(".txt")}


def test_images_without_labels_are_named():
    found = pair_files(["i/a.jpg", "i/b.jpg", "l/a.txt"], (".txt",))
    assert (found.names, found.alone) == (["a"], ["b"])


def test_labels_of_the_same_suffix_are_told_apart_by_their_content():
    files = ["train/1.png", "train/2.png", "trainannot/1.png", "trainannot/2.png"]
    found = pair_files(files, (".png",), lambda path: path.startswith("trainannot"))
    assert (found.images, found.labels) == ("train/*.png", "trainannot/*.png")


def test_no_pairs():
    assert pair_files(["a.jpg", "b.txt"], (".txt",)) is None


def test_parts_are_recognized_by_words():
    files = ["images/train2017/a.jpg", "images/val2017/b.jpg", "labels/train2017/a.png", "images/test2017/c.jpg"]
    found = split_files(files)
    assert found == {"train": [files[0], files[2]], "val": [files[1]]}
    assert split_files(["strain/a.jpg", "val/b.jpg"]) == {}
    assert split_files(["trainannot/a.png", "valannot/b.png"])["val"] == ["valannot/b.png"]
    assert split_files(["train/a.jpg", "testing/b.jpg"])["val"] == ["testing/b.jpg"]


def test_names_of_images_are_no_parts():
    files = ["photos/train_station.jpg", "photos/valley.jpg", "photos/val_1.jpg", "training_hall/a.jpg", "valley/b.jpg"]
    assert split_files(files[:3]) == {} and split_files(files) == {}
    assert split_files(["a/instances_train2017.json", "a/instances_val2017.json"], by_name=True)["train"] == [
        "a/instances_train2017.json"
    ]


def test_no_file_is_in_two_parts():
    files = ["train/val_box/a.jpg", "train/b.jpg", "val/train/c.jpg"]
    assert split_files(files) == {"train": files[:2], "val": files[2:]}


def test_sizes_and_files_that_are_no_images(tmp_path):
    Image.new("RGB", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no image")
    assert image_sizes([tmp_path / "a.png", tmp_path / "b.png"]) == ([(20, 30)], [str(tmp_path / "b.png")])


def test_relative_files(tmp_path):
    fill_folder(tmp_path, "b/c.png", "a.txt", ".hidden.png")
    assert relative_files(tmp_path) == ["a.txt", "b/c.png"]
