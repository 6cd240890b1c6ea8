"""Color transforms, which change the image but no labels."""

import cv2
import numpy as np

from vislab.registry import TRANSFORMS

_LEVELS = np.arange(256, dtype=np.float32)


@TRANSFORMS.register_module()
class PhotoMetricDistortion:
    """Random brightness, contrast, saturation and hue, each applied with probability `prob`.

    Implemented with 256-entry lookup tables.

    Required keys: img.
    Modified keys: img.

    Args:
        brightness_delta: Maximum shift of the pixel values, 0..255.
        contrast_range: Range of the factor on the pixel values.
        saturation_range: Range of the factor on HSV saturation.
        hue_delta: Maximum rotation of the hue in degrees.
        prob: Probability of each distortion.
    """

    def __init__(
        self,
        *,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: float = 18,
        prob: float = 0.5,
    ) -> None:
        self.brightness_delta = brightness_delta
        self.contrast_range = tuple(contrast_range)
        self.saturation_range = tuple(saturation_range)
        self.hue_delta = hue_delta
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        drawn = np.random.rand(4) < self.prob
        shift = np.random.uniform(-self.brightness_delta, self.brightness_delta) if drawn[0] else 0.0
        gain = np.random.uniform(*self.contrast_range) if drawn[1] else 1.0
        saturation = np.random.uniform(*self.saturation_range) if drawn[2] else 1.0
        hue = np.random.uniform(-self.hue_delta, self.hue_delta) if drawn[3] else 0.0
        img = results["img"]
        if drawn[0] or drawn[1]:
            img = cv2.LUT(img, _to_level((_LEVELS + shift) * gain))
        if drawn[2] or drawn[3]:
            hsv = cv2.cvtColor(img, cv2.COLOR_RGB2HSV_FULL)  # hue over 0..255
            table = np.stack(
                [((_LEVELS + hue / 360 * 256).round() % 256).astype(np.uint8), _to_level(_LEVELS * saturation)]
                + [_LEVELS.astype(np.uint8)],
                axis=-1,
            )
            img = cv2.cvtColor(cv2.LUT(hsv, table[None]), cv2.COLOR_HSV2RGB_FULL)
        results["img"] = img
        return results


def _to_level(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)
