"""COCO files: both kinds read into the same classes, and contradictions refused at start, with their place."""

import copy
import json

import cv2
import numpy as np
import pytest
from dataset_behaviour import DatasetBehaviour

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import (
    LoadAnnotations,
    LoadImage,
    LoadPanoptic,
    PackInputs,
    PanopticToInstances,
    PanopticToSemSeg,
)
from vislab.errors import DataError

CATEGORIES = [
    {"id": 92, "name": "sky", "isthing": 0, "color": [1, 2, 3]},
    {"id": 7, "name": "train", "isthing": 1, "color": [4, 5, 6]},
    {"id": 3, "name": "car", "isthing": 1, "color": [7, 8, 9]},
]
IMAGES = [{"id": i, "file_name": f"{i:012d}.jpg", "height": 40, "width": 60} for i in (5, 9, 11)]
INSTANCES = [
    {"id": 1, "image_id": 5, "category_id": 3, "bbox": [10, 5, 20, 10], "iscrowd": 0, "area": 200,
     "segmentation": [[10, 5, 30, 5, 30, 15, 10, 15]]},
    {"id": 2, "image_id": 5, "category_id": 7, "bbox": [40, 20, 30, 30], "iscrowd": 1, "area": 100,
     "segmentation": {"size": [40, 60], "counts": [1620, 15, 765]}},
    {"id": 3, "image_id": 9, "category_id": 7, "bbox": [-5, 0, 25, 10], "iscrowd": 0, "area": 200,
     "segmentation": [[0, 0, 20, 0, 20, 10, 0, 10]]},
    {"id": 4, "image_id": 9, "category_id": 7, "bbox": [10, 10, 0, 5], "iscrowd": 0, "area": 0, "segmentation": []},
]  # fmt: skip
IDS = {5: (70001, 42), 9: (1, 2), 11: (3,)}
PANOPTIC = [
    {"image_id": 5, "file_name": "000000000005.png", "segments_info": [
        {"id": 70001, "category_id": 3, "iscrowd": 0, "area": 200, "bbox": [0, 0, 60, 20]},
        {"id": 42, "category_id": 92, "iscrowd": 0, "area": 100, "bbox": [0, 20, 60, 20]}]},
    {"image_id": 9, "file_name": "000000000009.png", "segments_info": [
        {"id": 1, "category_id": 7, "iscrowd": 1, "area": 200, "bbox": [0, 0, 60, 20]},
        {"id": 2, "category_id": 92, "iscrowd": 0, "area": 100, "bbox": [0, 20, 60, 20]}]},
    {"image_id": 11, "file_name": "000000000011.png", "segments_info": [
        {"id": 3, "category_id": 7, "iscrowd": 1, "area": 200, "bbox": [0, 0, 60, 20]}]},
]  # fmt: skip


@pytest.fixture
def tree(tmp_path):
    make_tree(tmp_path)
    return tmp_path


def make_tree(root, instances=None, panoptic=None):
    """Images, PNG maps and both annotation files in COCO's layout."""
    for name in ("annotations", "val", "panoptic_val"):
        (root / name).mkdir(exist_ok=True)
    for image in IMAGES:
        cv2.imwrite(str(root / "val" / image["file_name"]), np.full((40, 60, 3), 90, np.uint8))
        ids = np.zeros((40, 60), np.int64)
        for k, number in enumerate(IDS[image["id"]]):
            ids[k * 15 : (k + 1) * 15] = number
        bgr = np.stack([ids // 65536, ids // 256 % 256, ids % 256], -1).astype(np.uint8)
        cv2.imwrite(str(root / "panoptic_val" / image["file_name"].replace("jpg", "png")), bgr)
    for name, annotations in (("instances", instances or INSTANCES), ("panoptic", panoptic or PANOPTIC)):
        content = {"images": IMAGES, "categories": CATEGORIES, "annotations": annotations}
        (root / "annotations" / f"{name}.json").write_text(json.dumps(content))


def build(root, kind="instances", **arguments) -> CocoDataset:
    return CocoDataset(
        data_root=str(root),
        ann_file=f"annotations/{kind}.json",
        data_prefix={"img": "val", "panoptic": "panoptic_val"},
        **arguments,
    )


class TestInstancesBehaviour(DatasetBehaviour):
    loaders = (LoadImage, lambda: LoadAnnotations(mask=True))

    def build(self, tmp_path, pipeline):
        make_tree(tmp_path)
        return build(tmp_path, pipeline=pipeline)


class TestPanopticBehaviour(DatasetBehaviour):
    loaders = (LoadImage, LoadPanoptic, PanopticToSemSeg, PanopticToInstances)

    def build(self, tmp_path, pipeline):
        make_tree(tmp_path)
        return build(tmp_path, "panoptic", pipeline=pipeline)


def test_classes_are_contiguous_things_first(tree):
    meta = build(tree).metainfo
    assert meta["classes"] == ("car", "train", "sky") and meta["category_ids"] == (3, 7, 92)
    assert meta["thing_classes"] == ("car", "train") and meta["stuff_classes"] == ("sky",)
    assert meta["palette"] == ((7, 8, 9), (4, 5, 6), (1, 2, 3))
    assert build(tree, "panoptic").metainfo == meta


def test_instances_are_read_and_cut_to_the_image(tree):
    dataset = build(tree)
    first, second, third = (dataset.get_data_info(i)["instances"] for i in range(3))
    assert [i["bbox"] for i in first] == [[10, 5, 30, 15], [40, 20, 60, 40]]
    assert [(i["label"], i["ignore"]) for i in first] == [(0, 0), (1, 1)]
    assert [i["bbox"] for i in second] == [[0, 0, 20, 10]] and third == []  # flat box left out, empty image kept
    assert len(build(tree, filter_empty=True)) == 2


def test_panoptic_is_read(tree):
    dataset = build(tree, "panoptic", pipeline=[LoadImage(), LoadPanoptic(), PackInputs()])
    sample = dataset[0]["data_samples"]
    assert [(s["id"], s["category"], s["area"]) for s in sample.gt_panoptic.segments_info] == [(1, 0, 900), (2, 2, 900)]
    assert len(build(tree, "panoptic", filter_empty=True)) == 2  # the third has a crowd alone


def test_both_kinds_at_once(tree):
    dataset = build(tree, "panoptic", instances_file="annotations/instances.json")
    record = dataset.get_data_info(0)
    assert len(record["instances"]) == 2 and len(record["segments_info"]) == 2


def test_chosen_classes_in_their_own_order(tree):
    dataset = build(tree, classes=["sky", "train"])
    assert dataset.metainfo["category_ids"] == (92, 7)
    assert [i["label"] for i in dataset.get_data_info(0)["instances"]] == [1]
    segments = build(tree, "panoptic", classes=["sky"]).get_data_info(0)["segments_info"]
    assert [s["category"] for s in segments] == [255, 0]


def _broken(place: str, **changes):
    instances, panoptic = copy.deepcopy(INSTANCES), copy.deepcopy(PANOPTIC)
    target = {"instance": instances[0], "panoptic": panoptic[0], "segment": panoptic[0]["segments_info"][0]}[place]
    target.update(changes)
    return {"instances": instances, "panoptic": panoptic}, "instances" if place == "instance" else "panoptic"


@pytest.mark.parametrize(
    ("place", "changes", "message"),
    [
        ("instance", {"image_id": 6}, "annotation 1 has image_id 6, which no image"),
        ("instance", {"category_id": 4}, "annotation 1 has category_id 4, which is not among"),
        ("instance", {"bbox": [1, 2, 3]}, r"annotation 1 has bbox \[1, 2, 3\]"),
        ("instance", {"bbox": ["a", 2, 3, 4]}, "annotation 1 has bbox"),
        ("instance", {"segmentation": "rle"}, "annotation 1 has segmentation 'rle'"),
        ("panoptic", {"image_id": 6}, "image 6 has image_id 6, which no image"),
        ("panoptic", {"image_id": 9}, "image 9: the image is annotated twice"),
        ("segment", {"category_id": 4}, "segment 70001 has category_id 4"),
        ("segment", {"id": 42}, "segment id 42 occurs twice"),
        ("segment", {"id": 0}, "segment id 0 is not an integer in 1"),
    ],
)
def test_contradictions_are_refused_at_start(tree, place, changes, message):
    annotations, kind = _broken(place, **changes)
    make_tree(tree, **annotations)
    with pytest.raises(DataError, match=message):
        build(tree, kind)


def test_missing_files_are_named(tree):
    (tree / "val" / "000000000009.jpg").unlink()
    with pytest.raises(DataError, match="1 of 3 images are missing, the first is .*000000000009.jpg"):
        build(tree)
    assert len(build(tree, check_files=False)) == 3
    (tree / "panoptic_val" / "000000000005.png").unlink()
    with pytest.raises(DataError, match="images are missing"):
        build(tree, "panoptic")
    with pytest.raises(DataError, match="annotations/instance.json"):
        build(tree, "instance")
    with pytest.raises(DataError, match="cannot be read"):
        CocoDataset(data_root=str(tree), ann_file="annotations/instances.json", data_prefix={"img": "vall"})


@pytest.mark.parametrize("text", ["{", "[]", '{"images": []}', "\x00"])
def test_files_that_are_no_annotations(tree, text):
    (tree / "annotations" / "instances.json").write_text(text)
    with pytest.raises(DataError, match="instances.json is not a"):
        build(tree)


def test_unknown_class_names_are_refused(tree):
    with pytest.raises(DataError, match="'tram'.*did you mean 'train'"):
        build(tree, classes=["car", "tram"])


def test_map_with_an_id_of_another_image_is_refused(tree):
    path = tree / "panoptic_val" / "000000000005.png"
    path.write_bytes((tree / "panoptic_val" / "000000000011.png").read_bytes())
    dataset = build(tree, "panoptic", pipeline=[LoadImage(), LoadPanoptic(), PackInputs()])
    with pytest.raises(DataError, match="holds segment id 3 "):
        dataset[0]


@pytest.mark.data
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_photos_of_both_kinds(data_root, split):
    dataset = CocoDataset(
        data_root=str(data_root / "coco_panoptic"),
        ann_file=f"annotations/panoptic_{split}.json",
        instances_file=f"annotations/instances_{split}.json",
        data_prefix={"img": split, "panoptic": f"panoptic_{split}"},
        pipeline=[LoadImage(), LoadPanoptic(), PanopticToSemSeg(), LoadAnnotations(mask=True), PackInputs()],
    )
    assert len(dataset) == {"train": 70, "val": 30}[split] and len(dataset.metainfo["classes"]) == 133
    assert len(dataset.metainfo["thing_classes"]) == 80
    for i in range(0, len(dataset), 3):
        sample = dataset[i]["data_samples"]
        things = [s for s in sample.gt_panoptic.segments_info if s["category"] < 80]
        assert len(things) >= len(sample.gt_instances) * 0.9
        for mask, label in zip(sample.gt_instances.masks.bool(), sample.gt_instances.labels, strict=True):
            # the instances file was derived from the maps: the two must show the same pixels
            assert (sample.gt_sem_seg.data[0][mask] == label).float().mean() > 0.99
