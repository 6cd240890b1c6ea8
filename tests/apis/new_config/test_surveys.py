"""Test what is found in folders of each task, and what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.helpers.aerial_trees import fraction_line, make_corner_text
from vislab.apis.new_config import surveys
from vislab.errors import DataError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def photo(value: int = 0):
    return np.random.default_rng(value).integers(0, 256, (40, 60, 3), np.uint8)


def fill_masks(root, values, names="abcde"):
    for index, name in enumerate(names):
        save(root / f"images/{name}.jpg", photo(index))
        save(root / f"masks/{name}.png", np.resize(np.array(values, np.uint8), (40, 60)))


def test_binary_masks_of_0_and_255_are_two_classes(tmp_path):
    fill_masks(tmp_path, [0, 255])
    found = surveys.survey_semantic(tmp_path)
    assert found.more["label_map"] == {0: 0, 255: 1}
    assert len(found.classes) == 2 and found.size == (40, 60) and found.count == 4


def test_values_are_classes_and_255_is_ignored(tmp_path):
    fill_masks(tmp_path, [0, 1, 2, 255])
    (tmp_path / "classes.txt").write_text("road\ncar\nsky\n")
    found = surveys.survey_semantic(tmp_path)
    assert found.classes == ("road", "car", "sky") and not found.more
    assert any("25.0% of the pixels are 255" in note for note in found.notes)


def test_fewer_names_than_classes_are_refused(tmp_path):
    fill_masks(tmp_path, [0, 1, 2])
    (tmp_path / "classes.txt").write_text("road\n")
    with pytest.raises(DataError, match="1 names, but the labels contain class 2"):
        surveys.survey_semantic(tmp_path)


def test_a_class_in_one_file_of_many_counts(tmp_path):
    fill_masks(tmp_path, [0, 1], names=[f"{i:03d}" for i in range(120)])
    save(tmp_path / "masks/077.png", np.resize(np.array([0, 9], np.uint8), (40, 60)))
    assert len(surveys.survey_semantic(tmp_path).classes) == 10


def test_only_ignored_pixels_are_refused(tmp_path):
    fill_masks(tmp_path, [255])
    with pytest.raises(DataError, match="255 only"):
        surveys.survey_semantic(tmp_path)


def test_a_damaged_label_file_is_named(tmp_path):
    fill_masks(tmp_path, [0, 1])
    path = tmp_path / "masks/c.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=r"c\.png is damaged"):
        surveys.survey_semantic(tmp_path)


def test_colored_masks_are_no_label_images(tmp_path):
    for name in "abcde":
        save(tmp_path / f"images/{name}.jpg", photo())
        save(tmp_path / f"masks/{name}.png", photo())
    with pytest.raises(DataError, match="one class index per pixel"):
        surveys.survey_semantic(tmp_path)


def test_held_out_images_are_every_fifth(tmp_path):
    fill_masks(tmp_path, [0, 1], names="abcdefg")
    found = surveys.survey_semantic(tmp_path)
    train, val = eval(found.train["indices"]), list(eval(found.val["indices"]))
    assert (train, val) == ([0, 1, 2, 3, 5, 6], [4])
    assert found.count == len(train)


def test_few_images_cannot_be_split(tmp_path):
    fill_masks(tmp_path, [0, 1], names="abcd")
    with pytest.raises(DataError, match="4 images are too few"):
        surveys.survey_semantic(tmp_path)


@pytest.mark.parametrize(("unit", "kind"), [(1000, np.uint16), (1, np.float32)])
def test_whole_numbers_are_millimeters(tmp_path, unit, kind):
    meters = np.linspace(0.5, 3.9, 2400).reshape(40, 60)
    for name in "abcde":
        save(tmp_path / f"{name}.color.jpg", photo())
        save(tmp_path / f"{name}.depth.{'png' if unit > 1 else 'tif'}", (meters * unit).astype(kind))
    found = surveys.survey_depth(tmp_path)
    assert found.more == {"scale": 1 / unit, "max_depth": 4.0}
    assert found.train["color"] == "*.color.jpg" and found.train["depth"].startswith("*.depth.")
    assert any("median 2." in note for note in found.notes)


def test_class_folders_without_validation(tmp_path):
    for label in ("cat", "dog"):
        for index in range(3):
            save(tmp_path / label / f"{index}.png", photo())
    found = surveys.survey_classification(tmp_path)
    assert found.classes == ("cat", "dog") and found.train["split"] == ""
    assert any("fewer than 10" in note for note in found.notes)


def test_class_folders_with_parts(tmp_path):
    for place in ("train/cat", "train/dog", "train/owl", "valid/cat", "valid/dog"):
        save(tmp_path / place / "0.png", photo())
    found = surveys.survey_classification(tmp_path)
    assert (found.train["split"], found.val["split"], found.count) == ("train", "valid", 3)
    assert found.val["metainfo"]["classes"] == ("cat", "dog", "owl")  # so that labels are not shifted
    save(tmp_path / "valid/eel/0.png", photo())
    with pytest.raises(DataError, match="'eel'"):
        surveys.survey_classification(tmp_path)


def test_one_part_alone_is_no_class(tmp_path):
    for place in ("train/cat", "train/dog", "unlabeled/x"):
        save(tmp_path / place / "0.png", photo())
    with pytest.raises(DataError, match="has the folder train, but expected both"):
        surveys.survey_classification(tmp_path)


def test_images_without_class_folders(tmp_path):
    save(tmp_path / "a.png", photo())
    with pytest.raises(DataError, match="0 class folders"):
        surveys.survey_classification(tmp_path)


def test_numbered_corner_text(tmp_path):
    for split in ("train", "val"):
        make_corner_text(tmp_path, [fraction_line(), fraction_line(label=2)], split=split, labels="labels")
    found = surveys.survey_rotated(tmp_path)
    assert found.classes == ("class0", "class1", "class2")
    assert "train" in found.train["images"] and "val" in found.val["labels"]


def test_corner_text_of_two_kinds_or_empty(tmp_path):
    for split in ("train", "val"):
        make_corner_text(tmp_path, [fraction_line()], split=split, labels="labels")
    (text,) = [path for path in tmp_path.rglob("*.txt") if "val" in str(path)][:1]
    text.write_text("1 1 9 1 9 9 1 9 ship\n")
    with pytest.raises(DataError, match="others number them"):
        surveys.survey_rotated(tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.write_text("")
    with pytest.raises(DataError, match="no object"):
        surveys.survey_rotated(tmp_path)


def coco(root, name, *, segmentation=True):
    save(root / "photos/a.jpg", photo())
    entry = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 9, 9], "iscrowd": 0, "area": 81}
    entry |= {"segmentation": [[1, 1, 10, 1, 10, 10]]} if segmentation else {}
    images = [{"id": i + 1, "file_name": "a.jpg", "height": 40, "width": 60} for i in range(6)]
    content = {"images": images, "annotations": [entry], "categories": [{"id": 7, "name": "cup"}]}
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(content))


def test_coco_files_and_their_images(tmp_path):
    coco(tmp_path, "labels/instances_train.json")
    coco(tmp_path, "labels/instances_val.json")
    (tmp_path / "notes.json").write_text("{}")
    found = surveys.survey_coco(tmp_path, panoptic=False, masks=True)
    assert found.train["ann_file"] == "labels/instances_train.json" and found.val["data_prefix"] == {"img": "photos"}
    assert found.classes == ("cup",) and found.more == {"things": 1}


def test_one_coco_file_is_split(tmp_path):
    coco(tmp_path, "all.json", segmentation=False)
    found = surveys.survey_coco(tmp_path, panoptic=False, masks=False)
    assert found.count == 5 and list(eval(found.val["indices"])) == [4]
    with pytest.raises(DataError, match="use the task detection"):
        surveys.survey_coco(tmp_path, panoptic=False, masks=True)


def test_coco_entries_without_names(tmp_path):
    coco(tmp_path, "all.json")
    content = json.loads((tmp_path / "all.json").read_text())
    del content["images"][2]["file_name"]
    (tmp_path / "all.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"all\.json: an entry of images is no object with file_name"):
        surveys.survey_coco(tmp_path, panoptic=False, masks=True)


def test_coco_without_its_images(tmp_path):
    coco(tmp_path, "all.json")
    (tmp_path / "photos/a.jpg").unlink()
    with pytest.raises(DataError, match=r"no folder contains a\.jpg"):
        surveys.survey_coco(tmp_path, panoptic=False, masks=True)
    with pytest.raises(DataError, match="panoptic format"):
        surveys.survey_coco(tmp_path, panoptic=True, masks=False)
