"""Test RandAugment: it follows the seeds of the sample, keeps the shape, and refuses labels with positions."""

import pickle

import numpy as np
import pytest

from vislab.datasets.base import seeded
from vislab.datasets.transforms import RandAugment
from vislab.errors import DataError

IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def run(transform: RandAugment, seed: int) -> np.ndarray:
    with seeded(seed):
        return transform({"img": IMAGE.copy(), "label": 3})["img"]


def test_the_seed_decides():
    transform = RandAugment()
    found = [run(transform, seed) for seed in range(10)]
    again = [run(transform, seed) for seed in range(10)]
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert len({image.tobytes() for image in found}) >= 6  # each of two operations is skipped half the time
    assert all(image.shape == IMAGE.shape and image.dtype == np.uint8 for image in found)
    assert np.array_equal(run(pickle.loads(pickle.dumps(transform)), 3), found[3])


def test_fill_and_policy():
    images = [run(RandAugment(policy="rand-m10-n4", fill=(255, 0, 255)), seed) for seed in range(10)]
    assert any((image.reshape(-1, 3) == (255, 0, 255)).all(1).mean() > 0.05 for image in images)
    with pytest.raises(ValueError, match="is not a RandAugment"):
        RandAugment(policy="augmix-m3")


def test_labels_with_positions_are_refused():
    with pytest.raises(DataError, match="photo.jpg, but not its gt_bboxes, gt_sem_seg"):
        RandAugment()({"img": IMAGE, "img_path": "photo.jpg", "gt_sem_seg": 0, "gt_bboxes": 0})
