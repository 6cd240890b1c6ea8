"""RandomResizedCropTwice: a second, smaller view of the same crop for networks that compute targets."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from vislab.datasets.transforms import RandomResizedCrop
from vislab.errors import ConfigError, check_choice
from vislab.registry import TRANSFORMS

_FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bicubic": Image.Resampling.BICUBIC}


@TRANSFORMS.register_module()
class RandomResizedCropTwice(RandomResizedCrop):
    """RandomResizedCrop that also resizes its window to `target_size`, as a second view, with antialiasing.

    Transforms that move the image come before, such as RandomFlip: later ones refuse samples with a second view.

    Required keys: img.
    Modified keys: those of RandomResizedCrop, and target_img (added).

    Args:
        size: Height and width of the image.
        target_size: Height and width of the second view; for DALL-E's tokens 8 pixels for each patch.
        target_interpolation: Filter of the second view.
        scale, ratio, interpolation, tries: As in RandomResizedCrop.
    """

    def __init__(
        self,
        *,
        size: int | Sequence[int],
        target_size: int | Sequence[int],
        target_interpolation: Literal["lanczos", "bicubic"] = "lanczos",
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = "bicubic",
        tries: int = 10,
    ) -> None:
        super().__init__(size=size, scale=scale, ratio=ratio, interpolation=interpolation, tries=tries)
        pair = (target_size, target_size) if isinstance(target_size, int) else tuple(target_size)
        if len(pair) != 2 or not all(isinstance(n, int) and n >= 1 for n in pair):
            raise ConfigError(f"RandomResizedCropTwice: target_size={target_size!r} is no size: one integer or (h, w)")
        check_choice("RandomResizedCropTwice: target_interpolation", target_interpolation, _FILTERS)
        self.target_size = pair
        self.target_interpolation = target_interpolation

    def resize(self, results: dict) -> None:
        window = Image.fromarray(results["img"])
        super().resize(results)
        view = window.resize(self.target_size[::-1], _FILTERS[self.target_interpolation])
        results["target_img"] = np.array(view)
