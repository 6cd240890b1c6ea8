"""Test that geometric transforms move all labels together, on synthetic scenes."""

import random

import numpy as np
import pytest
import torch

from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import (
    Albu,
    CenterCrop,
    LargeScaleJitter,
    LoadImage,
    PackInputs,
    Pad,
    PhotoMetricDistortion,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    ResizeShortestEdge,
)
from vislab.structures import rotated_boxes as rb

ALBU = [
    {"name": "HorizontalFlip", "p": 0.5},
    {"name": "Affine", "rotate": (-40, 40), "scale": (0.7, 1.4), "translate_percent": (-0.2, 0.2), "p": 0.9},
    {"name": "OneOf", "transforms": [{"name": "RandomBrightnessContrast", "p": 1}, {"name": "GaussianBlur", "p": 1}]},
    {"name": "RandomCrop", "height": 80, "width": 72, "p": 0.5},
]
MOVES = {
    "resize": lambda: Resize(size=(200, 150)),
    "resize_keep": lambda: Resize(size=(300, 111), keep_ratio=True),
    "shortest": lambda: ResizeShortestEdge(short_edge_length=[90, 140], max_size=200, ratio_range=(0.5, 1.5)),
    "lsj": lambda: LargeScaleJitter(size=(128, 144), ratio_range=(0.3, 2.0)),
    "crop": lambda: RandomCrop(size=(70, 60)),
    "crop_category": lambda: RandomCrop(size=70, cat_max_ratio=0.6),
    "center": lambda: CenterCrop(size=(64, 400)),
    "resized_crop": lambda: RandomResizedCrop(size=(96, 128), scale=(0.2, 1)),
    "flip_h": lambda: RandomFlip(prob=1),
    "flip_v": lambda: RandomFlip(prob=1, direction="vertical"),
    "flip_d": lambda: RandomFlip(prob=1, direction="diagonal"),
    "pad": lambda: Pad(size=(130, 1), size_divisor=32),
    "albu": lambda: Albu(transforms=ALBU),
}


def _scene(index: int, num_objects=(1, 6)) -> dict:
    scenes = Scenes(length=100, size=(100, 128), num_objects=num_objects, seed=9)
    return LoadImage()(scenes.get_data_info(index))


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _inside(box: np.ndarray, xy: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Return a mask of the points (K, 2) in a rotated box grown by `margin` pixels."""
    cos, sin = np.cos(box[4]), np.sin(box[4])
    x, y = (xy - box[:2]).T
    return (abs(x * cos + y * sin) <= box[2] / 2 + margin) & (abs(y * cos - x * sin) <= box[3] / 2 + margin)


def _rotated_iou(a: np.ndarray, b: np.ndarray) -> float:
    """By counting points of a fine grid."""
    xy = np.stack(np.meshgrid(np.arange(-20, 340), np.arange(-20, 340)), axis=-1).reshape(-1, 2)
    in_a, in_b = _inside(a, xy), _inside(b, xy)
    return (in_a & in_b).sum() / (in_a | in_b).sum()


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("seed", range(4))
def test_labels_move_together(name, seed):
    move = MOVES[name]()
    _seed(seed)
    before = _scene(seed)
    known = {k: set(np.unique(before["gt_depth"][m.astype(bool)]).tolist()) for k, m in enumerate(before["gt_masks"])}
    after = move(before)
    h, w = after["img"].shape[:2]
    assert after["img_shape"] == (h, w) and after["img"].flags.c_contiguous
    n = len(after["gt_labels"])
    for key in ("gt_bboxes", "gt_rbboxes", "gt_masks", "gt_ignore", "gt_ids"):
        assert len(after[key]) == n
    assert after["gt_masks"].shape == (n, h, w)
    assert after["gt_sem_seg"].shape == after["gt_depth"].shape == after["gt_panoptic"].shape == (h, w)
    assert after["gt_depth"].dtype == np.float32 and after["gt_panoptic"].dtype == np.int32
    for mask, box, rbox, label, number in zip(
        after["gt_masks"], after["gt_bboxes"], after["gt_rbboxes"], after["gt_labels"], after["gt_ids"], strict=True
    ):
        inside = mask.astype(bool)
        ys, xs = np.nonzero(inside)
        tight = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        assert np.abs(box - tight).max() <= 2
        # every kind of map shows the same object in the same place
        assert (after["gt_sem_seg"][inside] == label).all()
        assert (after["gt_panoptic"][inside] == number + 1).all()
        assert set(np.unique(after["gt_depth"][inside]).tolist()) <= known[int(number)]
        fitted = rb.mask_to_rbox(mask)
        assert _inside(rbox, np.stack([xs, ys], axis=1) + 0.5, margin=1.5).mean() > 0.97
        if fitted[3] > 12:  # the fit to fewer pixels is not worth comparing with
            assert 0.85 < rbox[2] * rbox[3] / (fitted[2] * fitted[3]) < 1.15
            whole = tight.min() > 1 and tight[2] < w - 1 and tight[3] < h - 1
            # a triangle has several smallest rectangles, and so has what a crop leaves
            if label == 0 and whole and mask.sum() > 0.9 * fitted[2] * fitted[3]:
                assert _rotated_iou(rbox, fitted) > 0.9
        assert box.min() >= 0 and box[2] <= w + 1e-3 and box[3] <= h + 1e-3
    # what is not covered by the old image is marked as unknown in every map
    outside = after["gt_panoptic"] == 0
    assert (after["gt_sem_seg"][outside] == 255).all() and (after["gt_depth"][outside] == 0).all()
    PackInputs()(after)


@pytest.mark.parametrize("name", MOVES)
def test_image_moves_with_its_labels(name):
    """Paint the semantic labels into the image: after the move the picture still shows them."""
    _seed(3)
    results = _scene(11)
    results["img"] = np.repeat(results["gt_sem_seg"][:, :, None] * 50, 3, axis=2)
    move = Albu(transforms=[ALBU[0], ALBU[1], ALBU[3]]) if name == "albu" else MOVES[name]()
    results = move(results)
    labeled = results["gt_sem_seg"] != 255
    painted = results["img"][..., 0][labeled].astype(int)
    wrong = np.abs(painted - results["gt_sem_seg"][labeled].astype(int) * 50) > 25
    assert wrong.mean() < 0.04  # interpolated edges


@pytest.mark.parametrize("name", [*MOVES, "color"])
def test_same_seed_same_result_other_seed_other_result(name):
    make = (lambda: PhotoMetricDistortion()) if name == "color" else MOVES[name]

    def run(seed):
        _seed(seed)
        results = make()(_scene(5))
        return PackInputs()(results)

    first, second = run(1), run(1)
    assert torch.equal(first["inputs"], second["inputs"])
    for key, value in first["data_samples"].gt_instances.items():
        assert torch.equal(value, second["data_samples"].gt_instances[key])
    if name in ("lsj", "crop", "resized_crop", "albu", "color"):
        others = [run(seed)["inputs"] for seed in range(2, 6)]
        assert any(o.shape != first["inputs"].shape or not torch.equal(o, first["inputs"]) for o in others)


@pytest.mark.parametrize("name", MOVES)
def test_images_without_instances(name):
    _seed(0)
    results = MOVES[name]()(_scene(0, num_objects=(0, 0)))
    packed = PackInputs()(results)["data_samples"].gt_instances
    assert len(packed) == 0 and packed.bboxes.shape == (0, 4) and packed.rbboxes.shape == (0, 5)
    assert packed.masks.shape == (0, *results["img"].shape[:2])


@pytest.mark.parametrize("name", MOVES)
def test_images_without_labels_at_all(name):
    if name == "crop_category":
        pytest.skip("needs labels")
    _seed(0)
    results = MOVES[name]()(LoadImage()({"img": _scene(2)["img"]}))
    assert "gt_instances" not in PackInputs()(results)["data_samples"]


@pytest.mark.parametrize("name", MOVES)
def test_boxes_alone_move_as_they_do_with_masks(name):
    def run(keys):
        _seed(4)
        results = _scene(4)
        for key in ("gt_bboxes", "gt_rbboxes", "gt_masks"):
            if key not in keys:
                del results[key]
        return MOVES[name]()(results)

    full = run(("gt_bboxes", "gt_rbboxes", "gt_masks"))
    boxes, rotated = run(("gt_bboxes",)), run(("gt_rbboxes",))
    for got, key in ((boxes, "gt_bboxes"), (rotated, "gt_rbboxes")):
        where = {int(k): i for i, k in enumerate(got["gt_ids"])}
        assert set(full["gt_ids"].tolist()) <= set(where)  # a mask may vanish where its box does not
        if key == "gt_bboxes" and name != "albu":
            for k, box in zip(full["gt_ids"], full["gt_bboxes"], strict=True):
                loose = got["gt_bboxes"][where[int(k)]]
                assert (loose[:2] <= box[:2] + 2).all() and (loose[2:] >= box[2:] - 2).all()
