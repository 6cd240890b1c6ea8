"""Test COCO datasets: instance and panoptic files with the same classes, and contradictory files."""

import copy
import json

import cv2
import numpy as np
import pytest

from tests.helpers.dataset_behavior import DatasetBehavior
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


class TestInstancesBehavior(DatasetBehavior):
    loaders = (LoadImage, lambda: LoadAnnotations(with_mask=True))

    def build(self, tmp_path, pipeline):
        make_tree(tmp_path)
        return build(tmp_path, pipeline=pipeline)


class TestPanopticBehavior(DatasetBehavior):
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
    dataset = build(tree, pipeline=[LoadImage(), LoadAnnotations()])
    first, second, third = (dataset[i] for i in range(3))
    assert first["gt_bboxes"].tolist() == [[10, 5, 30, 15], [40, 20, 60, 40]]
    assert first["gt_labels"].tolist() == [0, 1] and first["gt_ignore"].tolist() == [False, True]
    # flat box left out, empty image kept
    assert second["gt_bboxes"].tolist() == [[0, 0, 20, 10]] and third["gt_bboxes"].shape == (0, 4)
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
        ("instance", {"image_id": 6}, "annotation 1 has image_id 6, which is not the id of an image"),
        ("instance", {"category_id": 4}, "annotation 1 has category_id 4, which is not among"),
        ("instance", {"bbox": [1, 2, 3]}, r"annotation 1 has bbox \[1, 2, 3\]"),
        ("instance", {"bbox": ["a", 2, 3, 4]}, "annotation 1 has bbox"),
        ("instance", {"segmentation": "rle"}, "annotation 1 has segmentation 'rle'"),
        ("panoptic", {"image_id": 6}, "image 6 has image_id 6, which is not the id of an image"),
        ("panoptic", {"image_id": 9}, "image 9: the image is annotated twice"),
        ("segment", {"category_id": 4}, "segment 70001 has category_id 4"),
        ("segment", {"id": 42}, "segment id 42 occurs twice"),
        ("segment", {"id": 0}, "segment id 0 is not an integer in 1"),
        ("instance", {"bbox": [float("nan"), 2, 3, 4]}, r"annotation 1 has bbox \[nan, 2, 3, 4\]"),
        ("instance", {"bbox": [10**400, 2, 3, 4]}, "annotation 1 has bbox"),
        ("instance", {"bbox": [True, 2, 3, 4]}, "annotation 1 has bbox"),
        ("instance", {"bbox": None}, "annotation 1 has bbox null"),
        ("instance", {"bbox": [10, 5, 20, 400]}, r"annotation 1 has bbox .* far outside its image of 40x60"),
        ("instance", {"image_id": None}, "annotation 1 has image_id null"),
        ("instance", {"image_id": True}, "annotation 1 has image_id true"),
        ("instance", {"category_id": [1]}, r"annotation 1 has category_id \[1\]"),
        ("instance", {"iscrowd": 2}, "annotation 1 has iscrowd 2, expected 0 or 1"),
        ("instance", {"iscrowd": []}, r"annotation 1 has iscrowd \[\]"),
        ("segment", {"id": "42"}, "segment id '42' is not an integer"),
        ("segment", {"id": True}, "segment id True is not an integer"),
        ("segment", {"area": "big"}, "segment 70001 has area 'big'"),
        ("panoptic", {"file_name": None}, "image 5 has file_name null"),
        ("panoptic", {"segments_info": None}, "image 5: segments_info is null, expected a list"),
        ("panoptic", {"segments_info": [3]}, r"image 5: segments_info\[0\] is 3, expected an object"),
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


def _change(root, key, index, **changes):
    """Change an entry of the instances file."""
    path = root / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    content[key][index].update(changes)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("key", "changes", "message"),
    [
        ("images", {"height": "tall"}, "image 5 has height 'tall'"),
        ("images", {"width": float("nan")}, "image 5 has width nan, expected pixels, or null"),
        ("images", {"width": 60.5}, "image 5 has width 60.5"),
        ("images", {"id": None}, "image None has id null"),
        ("images", {"file_name": ["a"]}, r"image 5 has file_name \['a'\]"),
        ("images", {"file_name": 7}, "1 of 3 images are missing, the first is .*val/7"),
        ("categories", {"id": 1.5}, "category 1.5 has id 1.5"),
        ("categories", {"name": None}, "category 92 has name null"),
        ("categories", {"isthing": "no"}, "category 92 has isthing 'no'"),
        ("categories", {"id": "7"}, "two categories share an id"),
    ],
)
def test_wrong_types_are_named_with_their_entry(tree, key, changes, message):
    _change(tree, key, 0, **changes)
    with pytest.raises(DataError, match=message):
        build(tree)


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_entries_that_are_no_objects(tree, key):
    path = tree / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    content[key].insert(1, None)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf"{key}\[1\] is null, expected an object"):
        build(tree)
    content[key] = None
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=key):
        build(tree)


def test_what_exporters_write_differently_is_understood(tree):
    _change(tree, "images", 0, height="40", width=60.0, id="5")
    _change(tree, "categories", 0, color="#010203", isthing=False, id="92")
    _change(tree, "annotations", 0, iscrowd=None, image_id=5.0, category_id="3", segmentation=[10, 5, 30, 5, 30, 15])
    _change(tree, "annotations", 1, iscrowd=True)
    dataset = build(tree, pipeline=[LoadImage(), LoadAnnotations(with_mask=True)])
    assert dataset.metainfo["palette"][2] == (1, 2, 3) and dataset.metainfo["category_ids"] == (3, 7, 92)
    first = dataset[0]
    assert first["gt_ignore"].tolist() == [False, True] and first["gt_masks"][0].sum() > 50


@pytest.mark.parametrize("unknown", [-1, 0, None])
def test_unknown_sizes_cut_nothing(tree, unknown):
    for i in range(3):
        _change(tree, "images", i, height=unknown, width=unknown)
    dataset = build(tree, pipeline=[LoadImage(), LoadAnnotations()])
    assert "height" not in dataset.get_data_info(0) and "width" not in dataset.get_data_info(0)
    assert dataset[0]["gt_bboxes"].tolist() == [[10, 5, 30, 15], [40, 20, 60, 40]]
    _change(tree, "annotations", 0, bbox=[100, 50, 200, 100])  # made for an image of ten times the size
    dataset = build(tree, pipeline=[LoadImage(), LoadAnnotations()])
    with pytest.raises(DataError, match=r"instance 0 \(annotation 1\).*far outside its image of 40x60"):
        dataset[0]


@pytest.mark.parametrize("size", [(60, 40), (400, 600), (40, 61), (40, None)])
def test_the_size_in_the_file_is_compared_with_the_image(tree, size):
    _change(tree, "images", 2, height=size[0], width=size[1])
    dataset = build(tree, pipeline=[LoadImage(), LoadAnnotations()])
    if size[1] is None:  # one known side that agrees
        assert len(dataset[2]["gt_labels"]) == 0
        return
    swapped = ", height and width swapped" if size == (60, 40) else ""
    with pytest.raises(DataError, match=rf"is 40x60 \(h x w\).*has {size[0]}x{size[1]}{swapped}\. Use the images"):
        dataset[2]


def test_an_image_whose_boxes_all_lie_outside_of_a_wrong_size_is_not_filtered_away(tree):
    _change(tree, "images", 0, height=60, width=40)
    _change(tree, "annotations", 0, bbox=[42, 5, 10, 10])
    _change(tree, "annotations", 1, bbox=[45, 5, 10, 10])
    dataset = build(tree, filter_empty=True, pipeline=[LoadImage(), LoadAnnotations()])
    with pytest.raises(DataError, match="has 60x40"):
        dataset[0]


def _with_boxes(root, *boxes):
    instances = [INSTANCES[0] | {"id": k + 1, "bbox": list(box)} for k, box in enumerate(boxes)]
    make_tree(root, instances=instances)
    return build(root, pipeline=[LoadImage(), LoadAnnotations()])


def test_corners_and_shares_are_not_taken_for_xywh(tmp_path, logged):
    corners = [(20, 10, 55, 38), (30, 20, 50, 40), (1, 2, 30, 30), (25, 11, 60, 33), (3, 3, 9, 9)]
    with pytest.raises(DataError, match=r"3 of 5 boxes end outside .* all fit as \[x1, y1, x2, y2\] \(annotation 1"):
        _with_boxes(tmp_path, *corners)
    with pytest.raises(DataError, match="seem to be relative to the image size"):
        _with_boxes(tmp_path, (0.5, 0.25, 0.1, 0.5), (0, 0, 1, 1))
    assert _with_boxes(tmp_path, (0, 0, 1, 1))[0]["gt_bboxes"].tolist() == [[0, 0, 1, 1]]
    assert len(_with_boxes(tmp_path, (20, 10, 55, 28), (30, 20, 10, 10))[0]["gt_labels"]) == 2
    assert "1 of 2 boxes exceed their image" in logged() and "annotation 1: [20, 10, 55, 28]" in logged()


def test_boxes_without_area_are_said(tmp_path, logged):
    dataset = _with_boxes(tmp_path, (10, 10, -5, 5), (10, 10, 5, 5), (60, 10, 5, 5))
    sample = dataset[0]
    assert sample["gt_ids"].tolist() == [0] and sample["gt_bboxes"].tolist() == [[10, 10, 15, 15]]
    assert "1 of 3 boxes have no area" in logged() and "annotation 1: [10, 10, -5, 5]" in logged()
    assert "1 of 2 boxes have no area inside the image" in logged() and "(annotation 3)" in logged()


def test_one_file_under_two_ids_is_said(tree, logged):
    _change(tree, "images", 1, file_name=IMAGES[0]["file_name"])
    build(tree)
    assert "3 image entries refer to only 2 files" in logged()


def test_the_instances_file_is_matched_by_names_and_sizes(tree):
    path = tree / "annotations" / "instances.json"
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 3, "name": "train"}, {"id": 7, "name": "car"}]  # the other way round
    path.write_text(json.dumps(content))
    dataset = build(tree, "panoptic", instances_file="annotations/instances.json")
    assert [i["label"] for i in dataset.get_data_info(0)["instances"]] == [1, 0]
    chosen = build(tree, "panoptic", instances_file="annotations/instances.json", classes=["sky", "train"])
    assert [i["label"] for i in chosen.get_data_info(0)["instances"]] == [1]
    content["images"] = [IMAGES[0] | {"height": 80, "width": 120}]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="image 5 has height 80, .*panoptic.json has 40"):
        build(tree, "panoptic", instances_file="annotations/instances.json")


def test_deeply_nested_json_is_refused(tree):
    (tree / "annotations" / "instances.json").write_text("[" * 200_000)
    with pytest.raises(DataError, match="instances.json is not a readable JSON"):
        build(tree)


def test_a_listed_segment_without_pixels_is_said(tree, logged):
    panoptic = copy.deepcopy(PANOPTIC)
    panoptic[2]["segments_info"].append({"id": 8, "category_id": 3, "iscrowd": 0, "area": 9})
    make_tree(tree, panoptic=panoptic)
    dataset = build(tree, "panoptic", pipeline=[LoadImage(), LoadPanoptic(), PackInputs()])
    sample = dataset[2]["data_samples"]
    assert "1 of the 2 segments" in logged() and "the first is 8" in logged()
    assert [s["file_id"] for s in sample.gt_panoptic.segments_info] == [3]


def test_unknown_class_names_are_refused(tree):
    with pytest.raises(DataError, match="'tram'.*did you mean 'train'"):
        build(tree, classes=["car", "tram"])


def test_map_with_an_id_of_another_image_is_refused(tree):
    path = tree / "panoptic_val" / "000000000005.png"
    path.write_bytes((tree / "panoptic_val" / "000000000011.png").read_bytes())
    dataset = build(tree, "panoptic", pipeline=[LoadImage(), LoadPanoptic(), PackInputs()])
    with pytest.raises(DataError, match="contains segment id 3 "):
        dataset[0]


@pytest.mark.data
@pytest.mark.parametrize("split", ["train", "val"])
def test_real_photos_of_both_kinds(data_root, split):
    dataset = CocoDataset(
        data_root=str(data_root / "coco_panoptic"),
        ann_file=f"annotations/panoptic_{split}.json",
        instances_file=f"annotations/instances_{split}.json",
        data_prefix={"img": split, "panoptic": f"panoptic_{split}"},
        pipeline=[LoadImage(), LoadPanoptic(), PanopticToSemSeg(), LoadAnnotations(with_mask=True), PackInputs()],
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
