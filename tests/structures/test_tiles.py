"""Test the windows of large images: every pixel is covered, neighbors overlap, none reaches beyond the image."""

import numpy as np
import pytest

from vislab.errors import ConfigError
from vislab.structures.tiles import Tile, tile_windows


@pytest.mark.parametrize("size, overlap", [(800, 200), (1024, 200), (64, 0), (64, 63)])
@pytest.mark.parametrize("image", [(1, 1), (64, 65), (800, 1400), (1024, 1025), (900, 130)])
def test_every_pixel_is_covered(image, size, overlap):
    if size == 64 and overlap == 63:
        image = (min(image[0], 100), min(image[1], 100))
    covered = np.zeros(image, int)
    windows = tile_windows(image, size, overlap)
    assert len(set(windows)) == len(windows)
    for tile in windows:
        assert tile.left >= 0 and tile.left + tile.width <= image[1] and tile.top + tile.height <= image[0]
        assert tile.width == min(size, image[1]) and tile.height == min(size, image[0])
        covered[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] += 1
    assert covered.min() >= 1


def test_neighbors_overlap():
    lefts = sorted({tile.left for tile in tile_windows((10, 4000), 1024, 200)})
    assert lefts == [0, 824, 1648, 2472, 2976]
    assert tile_windows((1000, 1000), 1000, 200) == [Tile(0, 0, 1000, 1000)]


def test_an_object_smaller_than_the_overlap_is_whole_in_one_window():
    windows = tile_windows((10, 4000), 1024, 200)
    for start in range(3800):
        assert any(t.left <= start and start + 200 <= t.left + t.width for t in windows)


@pytest.mark.parametrize("size, overlap", [(0, 0), (100, 100), (100, -1)])
def test_settings_are_checked(size, overlap):
    with pytest.raises(ConfigError, match=f"tiles of {size} pixels with an overlap of {overlap}"):
        tile_windows((10, 10), size, overlap)
