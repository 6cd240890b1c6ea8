"""Test sizes, ranges and errors of the geometric transforms."""

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms as vision

from vislab.datasets.transforms import (
    CenterCrop,
    LargeScaleJitter,
    LoadImage,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    ResizeShortestEdge,
    functional,
)
from vislab.errors import ConfigError


def _image(h: int, w: int) -> dict:
    return LoadImage()({"img": np.random.default_rng(0).integers(0, 255, (h, w, 3), dtype=np.uint8)})


@pytest.mark.parametrize(
    ("shape", "transform", "expected"),
    [
        ((100, 200), Resize(size=50), (50, 50)),
        ((100, 200), Resize(size=(50, 80), keep_ratio=True), (40, 80)),
        ((100, 200), Resize(size=(400, 1000), keep_ratio=True), (400, 800)),
        ((3, 1000), Resize(size=(100, 100), keep_ratio=True), (1, 100)),
        ((100, 200), ResizeShortestEdge(short_edge_length=512, max_size=2048), (512, 1024)),
        ((100, 800), ResizeShortestEdge(short_edge_length=512, max_size=2048), (256, 2048)),
        ((800, 100), ResizeShortestEdge(short_edge_length=512, max_size=2048), (2048, 256)),
        ((100, 200), Pad(size=(120, 90), size_divisor=32), (128, 224)),
        ((100, 200), Pad(pad_to_square=True), (200, 200)),
        ((100, 200), RandomCrop(size=(150, 50)), (100, 50)),
        ((100, 200), RandomResizedCrop(size=(64, 32)), (64, 32)),
        ((100, 200), LargeScaleJitter(size=(64, 80)), (64, 80)),
    ],
)
def test_sizes(shape, transform, expected):
    results = transform(_image(*shape))
    assert results["img"].shape[:2] == results["img_shape"] == expected


def test_scale_factor_leads_back_to_the_original_frame():
    results = Resize(size=(50, 80))(_image(100, 200))
    results = Resize(size=(200, 100))(results)
    assert results["scale_factor"] == pytest.approx((0.5, 2.0))


def test_large_scale_jitter_covers_its_range():
    np.random.seed(0)
    factors = [LargeScaleJitter(size=100)(_image(100, 100))["scale_factor"][0] for _ in range(200)]
    assert min(factors) < 0.2 and max(factors) > 1.9 and 0.9 < np.mean(factors) < 1.2


def test_crop_avoids_windows_of_one_class():
    results = _image(100, 100)
    results["gt_sem_seg"] = np.zeros((100, 100), np.uint8)
    results["gt_sem_seg"][:, 85:] = 1
    np.random.seed(0)
    crop, plain = RandomCrop(size=30, cat_max_ratio=0.75, tries=50), RandomCrop(size=30)
    mixed = [len(np.unique(crop(dict(results))["gt_sem_seg"])) for _ in range(20)]
    assert np.mean(mixed) > 1.8 > 0.2 + np.mean([len(np.unique(plain(dict(results))["gt_sem_seg"])) for _ in range(20)])
    with pytest.raises(ValueError, match="needs gt_sem_seg"):
        crop(_image(50, 50))


def test_min_visible_drops_what_is_mostly_outside():
    results = _image(100, 100)
    results["gt_bboxes"] = np.array([[0, 0, 20, 20], [0, 0, 60, 60], [80, 80, 99, 99]], np.float32)
    results["gt_labels"] = np.arange(3)
    functional.crop(results, (10, 10, 60, 60), min_visibility=0.5)
    assert results["gt_labels"].tolist() == [1] and results["gt_bboxes"].tolist() == [[0, 0, 50, 50]]


def test_depth_is_scaled_only_when_asked():
    for asked, expected in ((False, 4.0), (True, 2.0)):
        results = _image(20, 20)
        results["gt_depth"] = np.full((20, 20), 4, np.float32)
        assert Resize(size=40, scale_depth=asked)(results)["gt_depth"].max() == expected


def test_flip_probability_and_direction():
    np.random.seed(0)
    flips = [RandomFlip(prob=0.3)(_image(4, 4))["flip"] for _ in range(300)]
    assert 0.2 < np.mean(flips) < 0.4
    drawn = {
        RandomFlip(prob=1, direction=["horizontal", "vertical"])(_image(4, 4))["flip_direction"] for _ in range(20)
    }
    assert drawn == {"horizontal", "vertical"}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Resize(size=(0, 5)),
        lambda: Resize(size=(1, 2, 3)),
        lambda: Resize(size=4, interpolation="cubic"),
        lambda: LargeScaleJitter(size=4, ratio_range=(2, 1)),
        lambda: RandomFlip(direction="sideways"),
    ],
)
def test_wrong_settings_are_refused(make):
    with pytest.raises((ValueError, ConfigError)):
        make()


def test_masks_are_sampled_where_maps_are():
    rng = np.random.default_rng(0)
    for _ in range(30):
        shape, size = rng.integers(1, 70, 2), tuple(int(n) for n in rng.integers(1, 150, 2))
        results = _image(*shape)
        labels = rng.integers(0, 3, shape).astype(np.uint8)
        results |= {"gt_sem_seg": labels, "gt_masks": (labels[None] == np.arange(3)[:, None, None]).astype(np.uint8)}
        functional.resize(results, size)
        for k, mask in enumerate(results["gt_masks"]):
            np.testing.assert_array_equal(mask, results["gt_sem_seg"] == k)


def test_a_mirror_image_swaps_left_and_right():
    semantic = np.repeat(np.array([[1, 1, 2, 255]], np.uint8), 4, axis=0)

    def flipped(direction):
        segments = [{"id": 1, "category": 2}, {"id": 2, "category": 0}]
        results = {"img": np.zeros((4, 4, 3), np.uint8), "gt_sem_seg": semantic.copy(), "label": 2,
                   "gt_labels": np.array([0, 1, 2]), "gt_panoptic": np.zeros((4, 4), np.int32),
                   "segments_info": segments}  # fmt: skip
        results = RandomFlip(prob=1.0, direction=direction, swap_labels=[(1, 2)])(results)
        categories = [s["category"] for s in results["segments_info"]]
        return results["gt_sem_seg"][0].tolist(), results["gt_labels"].tolist(), results["label"], categories

    assert flipped("horizontal") == ([255, 1, 2, 2], [0, 2, 1], 1, [1, 0])
    assert flipped("vertical") == ([2, 2, 1, 255], [0, 2, 1], 1, [1, 0])
    assert flipped("diagonal") == ([255, 2, 1, 1], [0, 1, 2], 2, [2, 0])  # a turn by 180 degrees
    with pytest.raises(ValueError, match="pairs of class indices"):
        RandomFlip(swap_labels=[(1, 2, 3)])


@pytest.mark.parametrize("size", [(48, 64), (61, 64), (64, 43), (33, 97), (300, 200), (256, 256), (20, 31)])
def test_classifiers_see_the_pixels_of_torchvision(size):
    """Sizes and offsets are rounded as there, and Pillow resizes."""
    img = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    photo = vision.Resize(36, vision.InterpolationMode.BICUBIC)(Image.fromarray(img))
    expected = np.asarray(vision.CenterCrop(31)(photo))
    results = {"img": img, "img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)}
    shrink = ResizeShortestEdge(short_edge_length=36, interpolation="antialiased", round_down=True)
    np.testing.assert_array_equal(CenterCrop(size=31)(shrink(results))["img"], expected)
