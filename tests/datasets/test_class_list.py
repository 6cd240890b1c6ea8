"""Test metainfo=dict(classes=[...]), which defines the label order of every dataset with class names."""

import json

import numpy as np
import pytest
from PIL import Image

from vislab.datasets.class_list import given_classes
from vislab.datasets.coco import CocoDataset
from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.scenes import Scenes
from vislab.datasets.semantic import CamVid, SemSegFolder
from vislab.datasets.transforms import LoadImage, LoadSemSeg
from vislab.errors import DataError


def _folders(root, names):
    for name in names:
        (root / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(root / name / "x.png")


def test_the_list_is_checked(tmp_path):
    assert given_classes({"classes": ["a", "b"]}, "X") == ("a", "b") and given_classes({}, "X") is None
    (tmp_path / "names.txt").write_text("red light\ngreen light\n\n")
    assert given_classes({"classes": str(tmp_path / "names.txt")}, "X") == ("red light", "green light")
    for wrong in ("car", ["a", "a"], [1, 2], [], 3):
        with pytest.raises(DataError, match="X: metainfo classes"):
            given_classes({"classes": wrong}, "X")
    with pytest.raises(DataError, match="'CLASSES'.*'classes'"):
        given_classes({"CLASSES": ["a"]}, "X")


def test_image_folder(tmp_path):
    _folders(tmp_path / "val", "ac")
    dataset = ImageFolder(data_root=str(tmp_path), split="val", metainfo={"classes": ["a", "b", "c"]})
    assert [dataset.get_data_info(i)["label"] for i in range(2)] == [0, 2]
    assert dataset.metainfo["classes"] == ("a", "b", "c")
    with pytest.raises(DataError, match="contains the class 'c', which is not one of the 2"):
        ImageFolder(data_root=str(tmp_path), split="val", metainfo={"classes": ["a", "b"]})
    # `classes` chooses folders, the list in metainfo numbers them
    chosen = ImageFolder(data_root=str(tmp_path), split="val", classes=["c"], metainfo={"classes": ["b", "c"]})
    assert len(chosen) == 1 and chosen.get_data_info(0)["label"] == 1
    with pytest.raises(DataError, match="twice"):
        ImageFolder(data_root=str(tmp_path), split="val", classes=["a", "a"])


def _coco(root, names, category, **options) -> CocoDataset:
    Image.new("RGB", (40, 30)).save(root / "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 30, "width": 40}],
        "categories": [{"id": 10 * (i + 1), "name": name} for i, name in enumerate(names)],
        "annotations": [{"id": 1, "image_id": 1, "category_id": category, "bbox": [1, 1, 9, 9], "area": 81}],
    }
    (root / "a.json").write_text(json.dumps(content))
    return CocoDataset(data_root=str(root), ann_file="a.json", **options)


def test_coco(tmp_path):
    dataset = _coco(tmp_path, "ac", 20, metainfo={"classes": ["a", "b", "c"]})
    assert dataset.get_data_info(0)["instances"][0]["label"] == 2
    assert dataset.metainfo["classes"] == ("a", "b", "c") and dataset.metainfo["category_ids"] == (10, None, 20)
    assert dataset.metainfo["thing_classes"] == ("a", "b", "c")
    with pytest.raises(DataError, match="contains the class 'Car'.*did you mean 'car'"):
        _coco(tmp_path, ["a", "Car"], 20, metainfo={"classes": ["a", "car"]})
    # a category that no annotation has, as exports of labeling tools begin with, does no harm
    dataset = _coco(tmp_path, ["objects", "a"], 20, metainfo={"classes": ["b", "a"]})
    assert dataset.get_data_info(0)["instances"][0]["label"] == 1
    # `classes` chooses from the file, the list in metainfo numbers
    dataset = _coco(tmp_path, "abc", 30, classes=["c"], metainfo={"classes": ["x", "c"]})
    assert dataset.get_data_info(0)["instances"][0]["label"] == 1 and dataset.metainfo["classes"] == ("x", "c")


def _maps(root, values):
    for folder in ("images", "labels"):
        (root / folder).mkdir(exist_ok=True)
    Image.new("RGB", (len(values), 1)).save(root / "images/a.jpg")
    Image.fromarray(np.array([values], np.uint8)).save(root / "labels/a.png")


def test_semantic(tmp_path):
    _maps(tmp_path, [0, 1, 255])

    def labels(**options):
        dataset = SemSegFolder(data_root=str(tmp_path), pipeline=[LoadImage(), LoadSemSeg()], **options)
        return dataset.metainfo["classes"], dataset[0]["gt_sem_seg"].tolist()

    assert labels(classes=["a", "c"]) == (("a", "c"), [[0, 1, 255]])
    assert labels(metainfo={"classes": ["a", "c"]}) == (("a", "c"), [[0, 1, 255]])
    listed = {"classes": ["c", "b", "a"]}
    assert labels(classes=["a", "c"], metainfo=listed) == (("c", "b", "a"), [[2, 0, 255]])
    assert labels(classes=["a", "c"], label_map={0: 1, 1: 255, 255: 255}, metainfo=listed)[1] == [[0, 255, 255]]
    with pytest.raises(DataError, match="contains the class 'd'"):
        labels(classes=["a", "d"], metainfo=listed)
    with pytest.raises(DataError, match="contains the value 1"):  # a value that the list has no name for
        labels(metainfo={"classes": ["a"]})


def test_sets_with_names_of_their_own(tmp_path):
    _maps(tmp_path, [0, 10, 11])
    (tmp_path / "val.txt").write_text("images/a.jpg labels/a.png\n")
    names = CamVid.METAINFO["classes"][::-1]
    options = {"data_root": str(tmp_path), "ann_file": "val.txt", "pipeline": [LoadImage(), LoadSemSeg()]}
    reversed_order = CamVid(**options, metainfo={"classes": names})
    assert reversed_order[0]["gt_sem_seg"].tolist() == [[10, 0, 255]] and "palette" not in reversed_order.metainfo
    assert CamVid(**options)[0]["gt_sem_seg"].tolist() == [[0, 10, 255]]
    with pytest.raises(DataError, match="CamVid contains the class 'sky'"):
        CamVid(**options, metainfo={"classes": names[:-1]})
    assert Scenes(length=1, metainfo={"classes": Scenes.METAINFO["classes"]}).metainfo["classes"]
    with pytest.raises(DataError, match="Scenes has the classes"):
        Scenes(length=1, metainfo={"classes": ["a"]})
