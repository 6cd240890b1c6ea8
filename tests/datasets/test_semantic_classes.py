"""Test names, colors and ids of the semantic datasets."""

import pytest
from torchvision.datasets import Cityscapes

from vislab.datasets.semantic_classes import (
    ADE20K_CLASSES,
    CAMVID_CLASSES,
    CAMVID_PALETTE,
    CITYSCAPES_CLASSES,
    CITYSCAPES_IDS,
    CITYSCAPES_PALETTE,
)


@pytest.mark.parametrize(
    ("classes", "palette", "count"),
    [(ADE20K_CLASSES, None, 150), (CITYSCAPES_CLASSES, CITYSCAPES_PALETTE, 19), (CAMVID_CLASSES, CAMVID_PALETTE, 11)],
)
def test_names_and_colors(classes, palette, count):
    assert len(classes) == len(set(classes)) == count
    if palette is not None:
        assert len(palette) == len(set(palette)) == count
        assert all(len(color) == 3 and all(0 <= level <= 255 for level in color) for color in palette)


def test_cityscapes_is_that_of_its_authors():
    """torchvision carries the table of the official scripts."""
    official = [c for c in Cityscapes.classes if c.id >= 0]
    used = {c.train_id: c for c in official if 0 <= c.train_id < 255}
    assert tuple(used[k].name for k in range(19)) == CITYSCAPES_CLASSES
    assert tuple(used[k].color for k in range(19)) == CITYSCAPES_PALETTE
    assert {c.id: c.train_id if 0 <= c.train_id < 255 else 255 for c in official} == CITYSCAPES_IDS
