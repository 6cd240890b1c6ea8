"""Test color transforms: range of the jitter, and hue compared with Python's colorsys."""

import colorsys

import numpy as np

from vislab.datasets.transforms import (
    LoadImage,
    PhotoMetricDistortion,
)


def _image(h: int, w: int) -> dict:
    return LoadImage()({"img": np.random.default_rng(0).integers(0, 255, (h, w, 3), dtype=np.uint8)})


def jitter(image: np.ndarray, **settings) -> np.ndarray:
    """One draw with every part that `settings` does not name left still, as (3,) or (h, w, 3)."""
    still = {"brightness_delta": 0, "contrast_range": (1, 1), "saturation_range": (1, 1), "hue_delta": 0, "prob": 1}
    return PhotoMetricDistortion(**still | settings)({"img": image.copy()})["img"]


def test_color_jitter_changes_colors_within_reason():
    np.random.seed(0)
    before = _image(30, 30)["img"]
    after = [PhotoMetricDistortion()(_image(30, 30))["img"] for _ in range(40)]
    shifts = [np.abs(a.astype(int) - before).mean() for a in after]
    assert max(shifts) > 15 and min(shifts) < 12 and max(shifts) < 100
    assert all(a.dtype == np.uint8 and a.shape == before.shape for a in after)
    still = PhotoMetricDistortion(prob=0)(_image(30, 30))["img"]
    np.testing.assert_array_equal(still, before)


def test_hue_turns_the_color_circle():
    red = LoadImage()({"img": np.full((4, 4, 3), (250, 10, 10), np.uint8)})
    np.random.seed(1)
    turned = [jitter(red["img"], hue_delta=120)[0, 0] for _ in range(20)]
    assert any(g > 150 for _, g, _ in turned) and any(b > 150 for _, _, b in turned)


def test_contrast_is_a_factor_on_the_levels():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    for factor in (0.5, 1.5):
        expected = np.minimum(np.round(np.arange(256) * factor), 255).reshape(16, 16)
        np.testing.assert_array_equal(jitter(levels, contrast_range=(factor, factor))[..., 1], expected)


def test_brightness_is_one_shift_of_all_levels():
    np.random.seed(0)
    gray = np.full((2, 2, 3), 100, np.uint8)
    drawn = np.array([jitter(gray, brightness_delta=40)[0, 0, 0] for _ in range(200)], int) - 100
    assert drawn.min() in range(-40, -34) and drawn.max() in range(35, 41) and abs(drawn.mean()) < 6
    ends = np.array([0, 5, 250], np.uint8).reshape(1, 3, 1).repeat(3, axis=2)
    shifted = np.array([jitter(ends, brightness_delta=40)[0, :, 0] for _ in range(50)], int)
    for low, middle, high in shifted:
        assert abs(low - max(middle - 5, 0)) <= 1 if middle else low == 0
        assert abs(high - min(middle + 245, 255)) <= 1 if middle else high <= 245
    assert shifted.min() == 0 and shifted.max() == 255  # cut, not wrapped


def test_saturation_and_hue_as_colorsys_has_them():
    """Eight bits for hue and saturation: off by a few levels at most."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.random.seed(3)
    turned = jitter(image, hue_delta=90)
    np.random.seed(3)
    np.random.rand(4), np.random.uniform(size=3)
    angle = np.random.uniform(-90, 90)
    half = jitter(image, saturation_range=(0.5, 0.5))
    for y, x in np.ndindex(8, 8):
        h, s, v = colorsys.rgb_to_hsv(*image[y, x] / 255)
        np.testing.assert_allclose(np.array(colorsys.hsv_to_rgb(h, s / 2, v)) * 255, half[y, x], atol=5)
        np.testing.assert_allclose(
            np.array(colorsys.hsv_to_rgb((h + angle / 360) % 1, s, v)) * 255, turned[y, x], atol=12
        )


def test_labels_and_the_input_array_stay():
    image, labels = np.full((4, 4, 3), 90, np.uint8), np.ones((4, 4), np.uint8)
    results = PhotoMetricDistortion(prob=1)({"img": image, "gt_sem_seg": labels})
    assert results["gt_sem_seg"] is labels and (image == 90).all() and not (results["img"] == 90).all()
