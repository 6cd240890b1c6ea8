"""Test ImageNet: names of the classes, and labels that do not depend on which folders there are."""

import numpy as np
import pytest
from PIL import Image

from vislab.datasets.imagenet import ImageNet, imagenet_classes
from vislab.errors import DataError


def folders(root, *synsets):
    for synset in synsets:
        (root / "val" / synset).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(root / "val" / synset / "a.JPEG")
    return str(root)


def test_names_are_unique_and_in_the_order_of_the_labels():
    classes = imagenet_classes()
    names = list(classes.values())
    assert len(classes) == len(set(names)) == 1000 and list(classes) == sorted(classes)
    assert (names[0], names[285], names[963]) == ("tench", "Egyptian cat", "pizza")
    assert (names[134], names[517]) == ("crane (bird)", "crane (machine)")
    assert (names[638], names[639]) == ("maillot", "maillot, tank suit")


def test_labels_are_those_of_all_classes(tmp_path):
    root = folders(tmp_path, "n07873807", "n01440764")
    dataset = ImageNet(data_root=root, split="val", test_mode=True)
    assert [dataset.get_data_info(i)["label"] for i in range(2)] == [0, 963]
    assert dataset.metainfo["classes"][963] == "pizza" and len(dataset.metainfo["classes"]) == 1000
    one = ImageNet(data_root=root, split="val", classes=["n07873807"], metainfo={"year": 2012})
    assert [one.get_data_info(0)["label"], len(one), one.metainfo["year"]] == [963, 1, 2012]


def test_names_are_known_without_files():
    assert ImageNet.METAINFO["classes"][1] == "goldfish"
    assert ImageNet(data_root="gone", lazy_init=True).metainfo["classes"][1] == "goldfish"


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="contains the class 'pizza'"):
        ImageNet(data_root=folders(tmp_path, "pizza"), split="val")
