"""Transforms that choose the masked patches of an image: blocks as published, single patches, all but one rectangle.

Each masks exactly `num_masked` patches and can mask any patch. A mask belongs to the image as it is, so the transforms
come after all that crop, resize or flip, which refuse samples that have a mask.
"""

import math
import random

import numpy as np

from vislab.errors import ConfigError
from vislab.registry import TRANSFORMS

_PUBLISHED_BLOCK = 16 / 196  # smallest block of the published masks as a fraction of the grid
_MAX_DRAWS = 1_000_000  # of BlockMask; the published masks need about 20, 150 at most


class _PatchMask:
    """Base of the mask transforms: converts the image size to a grid and checks the number of masked patches.

    Args:
        num_masked: Number of masked patches, between 1 and one less than the number of patches.
        patch_size: Side of a patch in pixels.
        num_predicted: Number of masked patches, drawn at random, whose prediction counts in the loss of targets that
            support it (ClusterTarget). Default: all.
    """

    def __init__(self, *, num_masked: int, patch_size: int = 16, num_predicted: int | None = None) -> None:
        for name, value in (("num_masked", num_masked), ("patch_size", patch_size)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{type(self).__name__}: {name}={value!r} must be an integer of at least 1")
        if num_predicted is not None and not (isinstance(num_predicted, int) and 1 <= num_predicted <= num_masked):
            raise ConfigError(
                f"{type(self).__name__}: num_predicted={num_predicted!r} must be an integer from 1 to "
                f"num_masked={num_masked}"
            )
        self.num_masked = num_masked
        self.patch_size = patch_size
        self.num_predicted = num_predicted

    def __call__(self, results: dict) -> dict:
        if "patch_mask" in results:
            raise ConfigError(f"{type(self).__name__}: the sample already has a patch_mask: use one mask transform")
        height, width = results["img"].shape[:2]
        if height % self.patch_size or width % self.patch_size:
            raise ConfigError(
                f"{type(self).__name__}: an image of {height}x{width} pixels (h x w) cannot be divided into patches of "
                f"patch_size={self.patch_size}: resize or crop it to multiples of {self.patch_size} before"
            )
        mask = self.draw(height // self.patch_size, width // self.patch_size)
        results["patch_mask"] = mask
        if self.num_predicted is not None:
            chosen = np.random.permutation(np.flatnonzero(mask))[: self.num_predicted]
            results["predict_mask"] = np.zeros_like(mask)
            results["predict_mask"].flat[chosen] = True
        return results

    def draw(self, height: int, width: int) -> np.ndarray:
        """Return a mask (height, width) bool of a grid of patches, True = masked, drawn from the global generators."""
        if self.num_masked >= height * width:
            raise ConfigError(
                f"{type(self).__name__}: num_masked={self.num_masked} of {height}x{width} = {height * width} patches "
                "leaves none visible: it must be smaller than the number of patches"
            )
        return self._draw(height, width)

    def _draw(self, height: int, width: int) -> np.ndarray:
        raise NotImplementedError


@TRANSFORMS.register_module()
class BlockMask(_PatchMask):
    """Mask rectangular blocks of patches until exactly `num_masked` are masked, as published for BEiT and CAE.

    A block has a uniform random area between `min_block` and the number of patches that are still to be masked, an
    aspect ratio drawn uniformly on a logarithmic scale, sides smaller than those of the grid, and any position. It is
    used if it masks at least one more patch and not more than are left. Draws from Python's `random` only, in the order
    of the published code, so that equal seeds give equal masks. For 98 of 14x14 patches this takes less than 0.1 ms.

    Required keys: img.
    Modified keys: patch_mask, predict_mask (added).

    Args:
        num_masked: Number of masked patches; published: 98 of 196 (75 in mmpretrain).
        patch_size: Side of a patch in pixels.
        num_predicted: Number of masked patches whose prediction counts; see ClusterTarget.
        min_block: Smallest area of a block in patches. Default: the published 16 of 196 scaled to the number of
            patches, at least 4, at most `num_masked`.
        min_aspect: Smallest ratio of height and width of a block; the largest is its inverse.
    """

    def __init__(
        self,
        *,
        num_masked: int,
        patch_size: int = 16,
        num_predicted: int | None = None,
        min_block: int | None = None,
        min_aspect: float = 0.3,
    ) -> None:
        super().__init__(num_masked=num_masked, patch_size=patch_size, num_predicted=num_predicted)
        if min_block is not None and not (isinstance(min_block, int) and 1 <= min_block <= num_masked):
            raise ConfigError(
                f"BlockMask: min_block={min_block!r} must be an integer from 1 to num_masked={num_masked}: a larger "
                "block never fits"
            )
        if not 0 < min_aspect <= 1:
            raise ConfigError(f"BlockMask: min_aspect={min_aspect!r} must be above 0 and at most 1")
        self.min_block = min_block
        self.min_aspect = min_aspect

    def _draw(self, height: int, width: int) -> np.ndarray:
        smallest = self.min_block
        if smallest is None:
            smallest = min(max(4, round(_PUBLISHED_BLOCK * height * width)), self.num_masked)
        self._check_fits(smallest, height, width)
        aspects = math.log(self.min_aspect), math.log(1 / self.min_aspect)
        largest = max(height - 1, 1), max(width - 1, 1)  # strictly inside the grid, if it has more than one row
        row = (1 << width) - 1  # the grid as one integer, bit y * width + x: blocks are set and counted without loops
        mask, left = 0, self.num_masked
        for _ in range(_MAX_DRAWS):
            area = random.uniform(smallest, left)
            aspect = math.exp(random.uniform(*aspects))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h > largest[0] or w > largest[1]:
                continue
            y, x = random.randint(0, height - h), random.randint(0, width - w)
            column = ((1 << h * width) - 1) // row  # the first bit of h rows
            added = (column * ((1 << w) - 1) << (y * width + x)) & ~mask
            count = added.bit_count()
            if 0 < count <= left:
                mask |= added
                left -= count
                if not left:
                    return _unpack(mask, height, width)
        raise ConfigError(
            f"BlockMask: no mask of num_masked={self.num_masked} of {height}x{width} patches was found in {_MAX_DRAWS} "
            f"draws of blocks of at least {smallest} patches: use a smaller min_block, or RandomMask"
        )

    def _check_fits(self, smallest: int, height: int, width: int) -> None:
        """Raise ConfigError if every block of the smallest area is larger than the grid."""
        low = max(self.min_aspect, smallest / (max(width - 1, 1) + 0.5) ** 2)
        high = min(1 / self.min_aspect, (max(height - 1, 1) + 0.5) ** 2 / smallest)
        if low >= high:
            raise ConfigError(
                f"BlockMask: a block of min_block={smallest} patches with an aspect ratio of {self.min_aspect:.3g} to "
                f"{1 / self.min_aspect:.3g} does not fit into a grid of {height}x{width} patches: use a smaller "
                "min_block or min_aspect, or RandomMask"
            )


def _unpack(bits: int, height: int, width: int) -> np.ndarray:
    """Convert an integer with bit y * width + x to an array (height, width) of bool."""
    size = height * width
    packed = np.frombuffer(bits.to_bytes(-(-size // 8), "little"), np.uint8)
    return np.unpackbits(packed, count=size, bitorder="little").view(bool).reshape(height, width)


@TRANSFORMS.register_module()
class RandomMask(_PatchMask):
    """Mask `num_masked` single patches; all sets of that size are equally likely (MAE, SimMIM).

    Args:
        num_masked: Number of masked patches.
        patch_size: Side of a patch in pixels.
        num_predicted: Number of masked patches whose prediction counts; see ClusterTarget.

    Required keys: img.
    Modified keys: patch_mask, predict_mask (added).
    """

    def _draw(self, height: int, width: int) -> np.ndarray:
        mask = np.zeros(height * width, bool)
        mask[np.random.permutation(height * width)[: self.num_masked]] = True
        return mask.reshape(height, width)


@TRANSFORMS.register_module()
class InverseBlockMask(_PatchMask):
    """Mask all patches except one rectangle, which is shifted cyclically over the grid (CAPI, arXiv 2502.08769).

    The shift makes all patches equally likely to be masked, those at the border included. If the number of visible
    patches is not the area of a rectangle, its last row is incomplete.

    Required keys: img.
    Modified keys: patch_mask, predict_mask (added).

    Args:
        num_masked: Number of masked patches; CAPI masks 65 %.
        patch_size: Side of a patch in pixels.
        num_predicted: Number of masked patches whose prediction counts; see ClusterTarget. CAPI takes 5 %.
        min_aspect: Smallest ratio of height and width of the rectangle; the largest is its inverse. Drawn uniformly on
            a logarithmic scale, and limited where the rectangle would be larger than the grid.
    """

    def __init__(
        self, *, num_masked: int, patch_size: int = 16, num_predicted: int | None = None, min_aspect: float = 0.5
    ) -> None:
        super().__init__(num_masked=num_masked, patch_size=patch_size, num_predicted=num_predicted)
        if not 0 < min_aspect <= 1:
            raise ConfigError(f"InverseBlockMask: min_aspect={min_aspect!r} must be above 0 and at most 1")
        self.min_aspect = min_aspect

    def _draw(self, height: int, width: int) -> np.ndarray:
        visible = height * width - self.num_masked
        aspect = np.exp(np.random.uniform(np.log(self.min_aspect), -np.log(self.min_aspect)))
        w = int(np.clip(round(math.sqrt(visible / aspect)), -(-visible // height), min(width, visible)))
        full, rest = divmod(visible, w)
        mask = np.ones((height, width), bool)
        mask[:full, :w] = False
        mask[full : full + 1, :rest] = False
        shift = np.random.randint(height), np.random.randint(width)
        return np.roll(mask, shift, axis=(0, 1))
