"""Test random patches: inside the image, as large as published, drawn anew from the seed, and in place of instances."""

import numpy as np
import pytest

from vislab.datasets.transforms import functional
from vislab.errors import ConfigError
from vislab.structures import rotated_boxes as rb
from vislab.systems.mutdet import RandomPatches


def draw(height, width, *, seed=0, **arguments):
    np.random.seed(seed)
    return RandomPatches(**arguments)({"img": np.zeros((height, width, 3), np.uint8)})


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("size", [(50, 200), (300, 80), (16, 16)])
def test_patches_are_inside(size, rotated):
    boxes = draw(*size, num_patches=2000, rotated=rotated)["gt_rbboxes"]
    corners = rb.rboxes_to_corners(boxes.astype(np.float64))
    assert corners.min() > -1e-3 and (corners <= np.array(size[::-1]) + 1e-3).all()
    assert (boxes[:, 2] >= boxes[:, 3]).all() and (boxes[:, 3] > 0).all()


def test_upright_patches_have_the_published_sizes():
    """Widths and heights are uniform integers from 8 to the side of the image minus 8, centers uniform too."""
    boxes = draw(100, 200, num_patches=20_000)["gt_rbboxes"]
    assert np.unique(boxes[:, 4]).tolist() == [np.float32(-np.pi / 2), 0]
    hulls = rb.rboxes_to_hboxes(boxes.astype(np.float64))
    sides = hulls[:, 2:] - hulls[:, :2]
    np.testing.assert_allclose(sides, sides.round(), atol=1e-4)
    assert sides.min(axis=0).round().tolist() == [8, 8] and sides.max(axis=0).round().tolist() == [192, 92]
    np.testing.assert_allclose(sides.mean(axis=0), [100, 50], rtol=0.02)
    place = hulls[:, :2] / (np.array([200, 100]) - sides)  # 0: at the left or upper border, 1: at the other one
    np.testing.assert_allclose(
        np.quantile(place, (0.01, 0.5, 0.99), axis=0), [[0.01] * 2, [0.5] * 2, [0.99] * 2], atol=0.02
    )


def test_angles_are_uniform():
    theta = draw(100, 100, num_patches=20_000, rotated=True)["gt_rbboxes"][:, 4]
    np.testing.assert_allclose(np.histogram(theta, 6, (-np.pi / 2, np.pi / 2))[0] / 20_000, 1 / 6, atol=0.015)


def test_patches_replace_the_instances_and_follow_the_seed():
    np.random.seed(1)
    results = {
        "img": np.zeros((64, 64, 3), np.uint8),
        "instances": [{}],
        "gt_embeddings": np.ones((2, 4)),
        "gt_areas": 0,
    }
    found = RandomPatches(num_patches=3)(results)
    assert {key for key in found if key in functional.INSTANCE_KEYS or key == "instances"} == {
        "gt_rbboxes", "gt_labels", "gt_ignore", "gt_ids"
    }  # fmt: skip
    assert found["gt_labels"].tolist() == [0, 0, 0] and not found["gt_ignore"].any()
    again, other = draw(64, 64, seed=1, num_patches=3), draw(64, 64, seed=2, num_patches=3)
    assert np.array_equal(found["gt_rbboxes"], again["gt_rbboxes"])
    assert not np.array_equal(found["gt_rbboxes"], other["gt_rbboxes"])


def test_messages():
    with pytest.raises(ConfigError, match="num_patches=0 must be an integer of at least 1"):
        RandomPatches(num_patches=0)
    with pytest.raises(ConfigError, match="needs images of at least 16 pixels, one has 15x40"):
        draw(15, 40)
