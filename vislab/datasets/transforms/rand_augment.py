"""RandAugment for image classification, from timm."""

from typing import Any

import numpy as np
from PIL import Image

from vislab.errors import DataError
from vislab.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandAugment:
    """Random color changes, shears, rotations and shifts of the image (Cubuk et al., 2020), by timm.

    For classification only: samples with labels that have positions are refused. Random numbers come from the
    generators of Python and NumPy, which the dataset seeds for each sample.

    Required keys: img.
    Modified keys: img.

    Args:
        policy: timm's description, e.g. "rand-m9-mstd0.5-inc1" for magnitude 9, its standard deviation 0.5, and only
            operations that grow with the magnitude.
        fill: RGB value of pixels outside the image, 0..255. Default: ImageNet's mean.

    Raises:
        DataError: The sample has labels with positions.
    """

    def __init__(self, *, policy: str = "rand-m9-mstd0.5-inc1", fill: tuple[int, int, int] = (124, 116, 104)) -> None:
        if not policy.startswith("rand"):
            raise ValueError(f"policy={policy!r} is not a RandAugment of timm, such as 'rand-m9-mstd0.5-inc1'")
        self.policy, self.fill = policy, tuple(fill)
        self._augment: Any = None

    def __call__(self, results: dict) -> dict:
        placed = sorted(key for key in results if key.startswith("gt_") and "factor" not in key)
        if placed:
            raise DataError(
                f"RandAugment moves pixels of {results.get('img_path', 'a sample')}, but not its {', '.join(placed)}: "
                "it is for classification only"
            )
        if self._augment is None:
            from timm.data.auto_augment import rand_augment_transform  # imported late: takes a second

            self._augment = rand_augment_transform(self.policy, {"img_mean": self.fill, "translate_pct": 0.45})
        results["img"] = np.array(self._augment(Image.fromarray(results["img"])))
        return results
