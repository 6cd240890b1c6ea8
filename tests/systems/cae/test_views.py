"""Test the second view: the same window, resized on its own with antialiasing."""

import numpy as np
import pytest
from PIL import Image

from vislab.datasets.transforms import PackInputs, RandomFlip, RandomResizedCrop
from vislab.errors import ConfigError
from vislab.systems.cae.views import RandomResizedCropTwice


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


def test_both_views_show_the_same_window():
    settings = {"size": (32, 48), "scale": (0.3, 0.6), "interpolation": "bicubic"}
    np.random.seed(3)
    alone = RandomResizedCrop(**settings)({"img": picture()})
    np.random.seed(3)
    both = RandomResizedCropTwice(**settings, target_size=(16, 24))({"img": picture()})
    np.testing.assert_array_equal(both["img"], alone["img"])
    np.random.seed(3)
    top, left, h, w = RandomResizedCrop(**settings)._window(60, 80)
    window = Image.fromarray(picture()[top : top + h, left : left + w])
    expected = np.asarray(window.resize((24, 16), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(both["target_img"], expected)
    assert both["target_img"].shape == (16, 24, 3) and both["img_shape"] == (32, 48)


def test_the_filter_is_antialiased():
    """A fine checkerboard becomes gray instead of one of its colors."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    results = RandomResizedCropTwice(size=64, target_size=8, scale=(1, 1), ratio=(1, 1))(
        {"img": np.repeat(board[..., None], 3, axis=2).astype(np.uint8)}
    )
    assert np.abs(results["target_img"][2:-2, 2:-2].astype(int) - 127).max() < 10


def test_packed_as_a_tensor():
    packed = PackInputs()(RandomResizedCropTwice(size=32, target_size=16)({"img": picture()}))
    assert tuple(packed["data_samples"].target_img.shape) == (3, 16, 16) and tuple(packed["inputs"].shape) == (
        3,
        32,
        32,
    )


def test_flips_come_before():
    results = RandomResizedCropTwice(size=32, target_size=16)({"img": picture()})
    with pytest.raises(ConfigError, match="flip after target_img was made"):
        RandomFlip(prob=1.0)(results)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"target_size": 0}, "target_size=0 is no size"),
        ({"target_size": (3, 4, 5)}, "is no size"),
        ({"target_size": 16, "target_interpolation": "area"}, "not one of lanczos, bicubic"),
    ],
)
def test_refusals(settings, words):
    with pytest.raises(ConfigError, match=words):
        RandomResizedCropTwice(size=32, **settings)
