"""Test that labels and images have the same coordinates: file sizes, EXIF, moves, resizing of instances."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from vislab.datasets.transforms import (
    Albu,
    CenterCrop,
    KittiCrop,
    LargeScaleJitter,
    LoadAnnotations,
    LoadDepth,
    LoadImage,
    LoadPanoptic,
    LoadSemSeg,
    PackInputs,
    Pad,
    PanopticToInstances,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    ResizeShortestEdge,
)
from vislab.errors import DataError
from vislab.models.mask2former import Mask2Former

INSTANCES = [{"bbox": [40, 0, 80, 10], "label": 0, "mask": [[40, 0, 80, 0, 80, 10, 40, 10]], "id": 5}]


@pytest.fixture
def photo(tmp_path):
    """Stored as 60x80 with an object at the top right; EXIF says a quarter turn."""
    img = np.zeros((60, 80, 3), np.uint8)
    img[:10, 40:] = 255
    exif = Image.Exif()
    exif[0x112] = 6
    Image.fromarray(img).save(tmp_path / "a.png", exif=exif)
    return str(tmp_path / "a.png")


def test_a_photo_turned_by_exif_against_labels_of_its_stored_pixels(photo):
    record = {"img_path": photo, "height": 60, "width": 80, "instances": INSTANCES}
    with pytest.raises(DataError, match=r"is 80x60 .*has 60x80\. The photo is stored as 60x80 .*orientation 6.*exif=F"):
        LoadImage()(dict(record))
    results = LoadAnnotations(with_mask=True)(LoadImage(exif=False)(dict(record)))
    mask, seen = results["gt_masks"][0].astype(bool), results["img"][..., 0] > 0
    assert (mask == seen).all() and results["gt_bboxes"].tolist() == [[40, 0, 80, 10]]
    assert LoadImage()({"img_path": photo, "height": 80, "width": 60})["ori_shape"] == (80, 60)
    with pytest.raises(DataError, match=r"is 60x80 \(h x w\), its image .* is 80x60\. The photo is stored as 60x80"):
        _label_image(photo, np.zeros((60, 80), np.uint8))


@pytest.mark.parametrize(
    ("orientation", "size", "known", "is_told"),
    [(3, (60, 80), True, True), (2, (60, 80), True, True), (6, (60, 60), True, True), (6, (60, 80), False, True)]
    + [(1, (60, 80), True, False), (6, (60, 80), True, False)],  # upright; the size tells that labels are turned
)
def test_a_turn_that_no_size_can_tell_is_said_once(tmp_path, logged, orientation, size, known, is_told):
    exif = Image.Exif()
    exif[0x112] = orientation
    Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    record = {"img_path": str(tmp_path / "a.jpg"), "instances": INSTANCES}
    turned = size[::-1] if orientation >= 5 else size
    if known:
        record |= {"height": turned[0], "width": turned[1]}
    for _ in range(2):
        LoadImage()(dict(record))
        LoadImage(exif=False)({"img_path": record["img_path"], "instances": INSTANCES})
        LoadImage()({"img_path": record["img_path"]})  # no labels
    assert logged().count(f"orientation {orientation}") == is_told


def _label_image(photo, labels):
    path = photo.replace("a.png", "labels.png")
    Image.fromarray(labels).save(path)
    return LoadSemSeg()(LoadImage()({"img_path": photo, "seg_map_path": path}))


def test_arrays_are_compared_too():
    img = np.zeros((60, 80, 3), np.uint8)
    with pytest.raises(DataError, match="is 60x80 .* has 80x60, height and width swapped"):
        LoadImage()({"img": img, "height": 80, "width": 60})


MOVES = {
    "crop": CenterCrop(size=30),
    "random crop": RandomCrop(size=(60, 30)),
    "resized crop": RandomResizedCrop(size=(60, 80), scale=(0.1, 0.2)),
    "flip": RandomFlip(prob=1),
    "albu": Albu(transforms=[{"name": "HorizontalFlip", "p": 1}]),
}
LOADERS = {
    "instances": LoadAnnotations(),
    "seg_map_path": LoadSemSeg(),
    "panoptic_path": LoadPanoptic(),
    "depth_path": LoadDepth(),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("key", LOADERS)
def test_labels_behind_a_move_are_refused(move, key):
    results = LoadImage()({"img": np.zeros((60, 80, 3), np.uint8), key: INSTANCES if key == "instances" else "x.png"})
    with pytest.raises(
        DataError, match=f"{type(LOADERS[key]).__name__} comes after a transform that changed the frame of the image"
    ):
        LOADERS[key](MOVES[move](results))


def test_labels_behind_resize_and_idle_moves_are_fine():
    steps = [
        RandomFlip(prob=0),
        CenterCrop(size=500),
        Resize(size=30),
        Albu(transforms=[{"name": "PixelDropout", "p": 1}]),
    ]
    results = LoadImage()({"img": np.zeros((60, 80, 3), np.uint8), "instances": INSTANCES})
    for step in [*steps, LoadAnnotations(), PackInputs()]:
        results = step(results)
    assert results["data_samples"].gt_instances.bboxes.tolist() == [[40, 0, 80, 10]]


def test_a_window_that_becomes_the_frame():
    results = KittiCrop()(LoadImage()({"img": np.zeros((370, 1240, 3), np.uint8)}))
    assert "moved" not in results and results["ori_shape"] == (352, 1216)


def _sample(masks: bool = True) -> dict:
    """An object of 32x32 pixels, one of 2x2 and one of a single pixel in an image of 64x64."""
    boxes = np.array([[8, 8, 40, 40], [50, 50, 52, 52], [3, 61, 4, 62]])
    results = LoadImage()({"img": np.zeros((64, 64, 3), np.uint8)})
    results |= {"gt_bboxes": boxes.astype(np.float32), "gt_labels": np.arange(3), "gt_ids": np.arange(3)}
    results |= {"gt_ignore": np.zeros(3, bool), "gt_areas": np.array([1024.0, 4, 1])}
    if masks:
        results["gt_masks"] = np.zeros((3, 64, 64), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(results["gt_masks"], boxes, strict=True):
            mask[y1:y2, x1:x2] = 1
    return results


VANISHING = {
    "lsj": LargeScaleJitter(size=(64, 64)),
    "resize": Resize(size=(16, 16)),
    "shortest": ResizeShortestEdge(short_edge_length=12),
    "resized crop": RandomResizedCrop(size=(16, 16)),
    "albu": Albu(transforms=[{"name": "Resize", "height": 12, "width": 12}]),
}


@pytest.mark.parametrize("name", VANISHING)
def test_no_instance_without_a_pixel_is_left(name):
    np.random.seed(0)
    kept = []
    for _ in range(60):
        results = VANISHING[name](_sample())
        n = len(results["gt_labels"])
        assert all(mask.any() for mask in results["gt_masks"])
        assert all(len(results[key]) == n for key in ("gt_bboxes", "gt_masks", "gt_ignore", "gt_ids"))
        if "gt_areas" in results:
            assert len(results["gt_areas"]) == n
        kept.extend(results["gt_labels"].tolist())
    assert 0 in kept and (name == "lsj" or len(kept) < 180)


def test_boxes_smaller_than_a_pixel_go_in_jitter_and_stay_in_resize():
    np.random.seed(0)
    for name in ("lsj", "resized crop"):
        for _ in range(60):
            boxes = VANISHING[name](_sample(masks=False))["gt_bboxes"]
            assert ((boxes[:, 2:] - boxes[:, :2]) >= 1).all()
    assert len(Resize(size=16)(_sample(masks=False))["gt_bboxes"]) == 3  # a test pipeline: the metric counts all


def test_segments_that_vanish_are_no_targets():
    ids = np.ones((64, 64), np.int32)
    ids[61, 3] = 2
    results = LoadImage()({"img": np.zeros((64, 64, 3), np.uint8)}) | {
        "gt_panoptic": ids,
        "segments_info": [{"id": 1, "category": 4, "iscrowd": 0}, {"id": 2, "category": 5, "iscrowd": 0}],
    }
    for order in ([Resize(size=16), PanopticToInstances()], [PanopticToInstances(), Resize(size=16)]):
        moved = dict(results)
        for step in [*order, PackInputs()]:
            moved = step(moved)
        sample = moved["data_samples"]
        assert sample.gt_instances.labels.tolist() == [4]
        assert [s["id"] for s in sample.gt_panoptic.segments_info] == [1]


def test_the_frame_of_the_labels_is_packed():
    results = LoadImage()({"img": np.zeros((60, 80, 3), np.uint8), "instances": INSTANCES})
    early = PackInputs()(Resize(size=(120, 40))(LoadAnnotations()(Resize(size=(30, 40))(results))))["data_samples"]
    assert early.scale_factor == (0.5, 2.0) and early.gt_scale_factor == (1.0, 4.0) and "moved" not in early
    padded = PackInputs()(Pad(size=100)(_sample()))["data_samples"]
    assert padded.moved == ("pad",)


def test_a_model_learns_only_from_objects_with_pixels():
    results = _sample()
    results["gt_masks"][1] = 0  # a polygon thinner than a pixel, say
    sample = PackInputs()(results)["data_samples"]
    model = SimpleNamespace(num_classes=3)
    target = Mask2Former.targets(model, [sample], torch.zeros(1, 3, 64, 64))[0]
    assert target.labels.tolist() == [0, 2] and target.masks.flatten(1).sum(1).tolist() == [1024, 1]


def test_labels_need_the_image_first():
    img = np.zeros((60, 80, 3), np.uint8)
    with pytest.raises(DataError, match="put LoadImage before LoadAnnotations"):
        LoadAnnotations()({"img": img, "instances": INSTANCES})
    for key, shape in (("gt_sem_seg", (80, 60)), ("gt_depth", (30, 40)), ("gt_masks", (2, 60, 81))):
        with pytest.raises(DataError, match=rf"is 60x80 \(h x w\), its {key} is {shape[-2]}x{shape[-1]}"):
            LoadImage()({"img": img, key: np.zeros(shape, np.uint8)})


def test_a_mask_beside_its_box_and_a_box_over_the_edge_are_said(logged):
    record = {"img": np.zeros((60, 80, 3), np.uint8), "img_path": "b.jpg"}
    record["instances"] = [INSTANCES[0] | {"bbox": [5, 30, 20, 50]}, INSTANCES[0] | {"bbox": [40, 30, 100, 50]}]
    results = LoadAnnotations(with_mask=True)(LoadImage()(record))
    assert results["gt_bboxes"].tolist() == [[5, 30, 20, 50], [40, 30, 80, 50]]
    assert "instance 0 (annotation 5) of b.jpg has no pixel in its own box [5.0, 30.0, 20.0, 50.0]" in logged()
    assert "instance 1 (annotation 5) exceeds the image" in logged()
