"""Windows of equal size that cover a large image with overlap."""

from typing import NamedTuple

from vislab.errors import ConfigError


class Tile(NamedTuple):
    """A window of an image in pixels."""

    left: int
    top: int
    width: int
    height: int


def check_tiles(size: int, overlap: int) -> None:
    """Raise ConfigError unless 1 <= size and 0 <= overlap < size."""
    if size < 1 or not 0 <= overlap < size:
        raise ConfigError(f"tiles of {size} pixels with an overlap of {overlap}: expected 0 <= overlap < size")


def tile_windows(image_size: tuple[int, int], size: int, overlap: int) -> list[Tile]:
    """Return the windows that cover an image, row by row.

    The distance between windows is `size - overlap`; the last window of a row or column is shifted into the image, so
    that neighbors overlap by at least `overlap`. Windows are smaller than `size` only where the image is.

    Args:
        image_size: Height and width of the image.
        size: Side of the windows.
        overlap: Overlap of neighboring windows, less than `size`.
    """
    check_tiles(size, overlap)
    height, width = image_size
    return [
        Tile(left, top, min(size, width), min(size, height))
        for top in _starts(height, size, size - overlap)
        for left in _starts(width, size, size - overlap)
    ]


def _starts(length: int, size: int, step: int) -> list[int]:
    if length <= size:
        return [0]
    starts = list(range(0, length - size, step))
    return [*starts, length - size]
