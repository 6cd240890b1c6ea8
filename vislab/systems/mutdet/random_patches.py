"""RandomPatches: boxes at random places, which a detector is pre-trained to find, as in UP-DETR."""

import math

import numpy as np

from vislab.datasets.transforms import functional
from vislab.errors import ConfigError
from vislab.registry import TRANSFORMS
from vislab.structures import rotated_boxes as rb


@TRANSFORMS.register_module()
class RandomPatches:
    """Replace the instances by random patches of the image, all of class 0 (Dai et al., UP-DETR, CVPR 2021).

    Width and height are uniform between `min_size` and the side of the image minus `min_size`, the center is uniform
    where the patch is inside the image. A rotated patch that exceeds the image is shrunk until it fits. The patches are
    drawn for the image as it is, so transforms that crop come before.

    Required keys: img.
    Modified keys: gt_rbboxes, gt_labels, gt_ignore, gt_ids, gt_scale_factor (added); instances and all other labels of
    instances (removed).

    Args:
        num_patches: Number of patches; published: 10.
        min_size: Smallest side in pixels, before rotated patches are shrunk.
        rotated: Draw a uniform angle too, for detectors of rotated boxes; otherwise patches are upright, as published.

    Raises:
        ConfigError: An argument is out of range, or the image is too small for `min_size`.
    """

    def __init__(self, *, num_patches: int = 10, min_size: int = 8, rotated: bool = False) -> None:
        for name, value in (("num_patches", num_patches), ("min_size", min_size)):
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"RandomPatches: {name}={value!r} must be an integer of at least 1")
        self.num_patches, self.min_size, self.rotated = num_patches, min_size, rotated

    def __call__(self, results: dict) -> dict:
        height, width = results["img"].shape[:2]
        for key in ("instances", *functional.INSTANCE_KEYS):
            results.pop(key, None)
        results["gt_rbboxes"] = self._draw(height, width).astype(np.float32)
        results["gt_labels"] = np.zeros(self.num_patches, np.int64)
        results["gt_ignore"] = np.zeros(self.num_patches, bool)
        results["gt_ids"] = np.arange(self.num_patches)
        results["gt_scale_factor"] = (1.0, 1.0)
        return results

    def _draw(self, height: int, width: int) -> np.ndarray:
        """Return boxes (num_patches, 5) inside an image, drawn from NumPy's global generator."""
        image = np.array([width, height])
        if image.min() < 2 * self.min_size:
            raise ConfigError(
                f"RandomPatches: min_size={self.min_size} needs images of at least {2 * self.min_size} pixels, one has "
                f"{height}x{width} (h x w): reduce min_size, or enlarge the images"
            )
        sides = np.random.randint(self.min_size, image - self.min_size + 1, (self.num_patches, 2))
        theta = np.random.uniform(-math.pi / 2, math.pi / 2, self.num_patches) * self.rotated
        rboxes = np.column_stack([np.zeros((self.num_patches, 2)), sides, theta])
        hull = 2 * rb.rboxes_to_hboxes(rboxes)[:, 2:]  # width and height (N, 2)
        shrunk = np.minimum(1, (image / hull).min(axis=1))[:, None]
        rboxes[:, 2:4] *= shrunk
        rboxes[:, :2] = hull * shrunk / 2 + np.random.uniform(size=hull.shape) * (image - hull * shrunk)
        return rb.normalize(rboxes)
