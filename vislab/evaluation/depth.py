"""Metric depth evaluation: the ten usual metrics, with all settings of the protocol explicit and part of the result.

Metrics of the same model differ by up to a third with the crop, the maximum depth, the treatment of invalid labels and
the averaging, so the result includes a line `protocol` with all settings.

mmsegmentation's DepthMetric differs: its silog weights the mean error by 0.5 and is not multiplied by 100 (here, as in
BTS
and KITTI: weight 1, times 100); its minimum valid depth is 0 instead of 1e-3 m; predictions are not clamped; there is
no Garg crop.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from vislab.errors import ConfigError, DataError, check_choice
from vislab.evaluation.checks import error_context, require_field, require_results, to_array, warn
from vislab.evaluation.details import Details, ImageScore, image_score, worst_images
from vislab.evaluation.frame import require_original_frame
from vislab.registry import METRICS

NAMES = ("d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog", "irmse")
# fractions of height and width (top, bottom, left, right); NYU: rows 45:471, columns 41:601 of 480x640
CROPS = {
    "none": (0.0, 1.0, 0.0, 1.0),
    "nyu_eigen": (45 / 480, 471 / 480, 41 / 640, 601 / 640),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),
    "kitti_eigen": (0.3324324, 0.91351351, 0.0359477, 0.96405229),
}


def crop_window(shape: tuple[int, int], crop: str) -> tuple[slice, slice]:
    """Return the rows and columns of an (h, w) map inside `crop`, rounded down as in the published code."""
    top, bottom, left, right = CROPS[crop]
    height, width = shape
    # 1e-6: 45 / 480 * 480 must not become 44 by rounding
    rows = slice(int(top * height + 1e-6), int(bottom * height + 1e-6))
    return rows, slice(int(left * width + 1e-6), int(right * width + 1e-6))


def depth_sums(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return sums over n valid pixels, (11,) float64, for `metrics_from_sums`: n, three counts, seven sums.

    Args:
        prediction, target: (n,) meters, positive.
    """
    prediction, target = prediction.astype(np.float64), target.astype(np.float64)
    ratio = np.maximum(prediction / target, target / prediction)
    difference = prediction - target
    log = np.log(prediction) - np.log(target)
    square = np.square(difference)
    return np.array(
        [
            target.size,
            *((ratio < 1.25**k).sum() for k in (1, 2, 3)),
            (np.abs(difference) / target).sum(),
            (square / target).sum(),
            square.sum(),
            np.square(log).sum(),
            np.abs(log).sum() / np.log(10),
            log.sum(),
            np.square(1 / prediction - 1 / target).sum(),
        ]
    )


def metrics_from_sums(sums: np.ndarray) -> np.ndarray:
    """Convert `depth_sums` (..., 11) to metrics (..., 10) in the order of NAMES."""
    d1, d2, d3, abs_rel, sq_rel, square, log_square, log10, log, inverse = np.moveaxis(
        sums[..., 1:] / sums[..., :1], -1, 0
    )
    silog = 100 * np.sqrt(np.maximum(log_square - np.square(log), 0))  # rounding can make it negative
    irmse = 1000 * np.sqrt(inverse)
    return np.stack([d1, d2, d3, abs_rel, sq_rel, np.sqrt(square), np.sqrt(log_square), log10, silog, irmse], axis=-1)


@METRICS.register_module()
class DepthMetric(BaseMetric):
    """Depth metrics: d1, d2, d3, abs_rel, sq_rel, rmse, rmse_log, log10, silog, irmse, and the settings as `protocol`.

    d1, d2 and d3 are the fractions of pixels within a factor of 1.25, 1.25^2 and 1.25^3; rmse is in meters, silog is
    multiplied by 100, irmse is in 1/km. Labels strictly between min_depth and max_depth and inside the crop are valid.
    Non-finite predictions are replaced by the nearest limit. Predictions must have the size of the labels.

    Args:
        min_depth: Minimum depth of labels in meters (exclusive).
        max_depth: Maximum depth of labels in meters (exclusive).
        crop: "none", "nyu_eigen", "garg" or "kitti_eigen". The NYU crop is scaled for labels that are not 480x640.
        clamp: Clamp predictions to [min_depth, max_depth].
        average: "image" for the mean of the metrics of each image, as published; "pixel" for metrics over all pixels.
        collect_device: See mmengine's BaseMetric.
        prefix: Prefix of the names of the metrics.

    Attributes:
        details: The images with the largest abs_rel.

    Images without valid pixels are skipped and counted in `skipped`. If predictions at valid pixels are not finite,
    `not_finite` is their percentage and a warning names the first image.

    Raises:
        DataError: A label and its prediction differ in size, no image has a valid pixel, or no prediction at a valid
            pixel is finite.
    """

    default_prefix = None

    def __init__(
        self,
        *,
        min_depth: float = 1e-3,
        max_depth: float = 10.0,
        crop: Literal["none", "nyu_eigen", "garg", "kitti_eigen"] = "none",
        clamp: bool = True,
        average: Literal["image", "pixel"] = "image",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        check_choice("DepthMetric: crop", crop, CROPS)
        check_choice("DepthMetric: average", average, ("image", "pixel"))
        if not 0 < min_depth < max_depth:
            raise ConfigError(f"DepthMetric: expected 0 < min_depth < max_depth, got {min_depth} and {max_depth}")
        self.min_depth, self.max_depth = min_depth, max_depth
        self.crop, self.clamp, self.average = crop, clamp, average
        self.inference = "unknown"
        self.details: Details | None = None

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix; `*` matches any class name."""
        return [*NAMES, "skipped", "not_finite"]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            with error_context("DepthMetric", sample):
                name = sample.get("img_path", "a sample")
                require_original_frame(sample, "DepthMetric")
                truth = require_field(sample, "gt_depth", "DepthMetric", "put LoadDepth into the test pipeline")
                found = require_field(sample, "pred_depth", "DepthMetric", "the model predicts none")
                target = to_array(truth["data"][0])
                prediction = to_array(found["data"][0]).astype(np.float32, copy=False)
                if prediction.shape != target.shape:
                    raise DataError(
                        f"DepthMetric: the label of {name} is {target.shape} (h, w), its prediction "
                        f"{prediction.shape}: load labels of the original size"
                    )
                self.inference = sample.get("inference", self.inference)
                low, high = self.min_depth, self.max_depth
                window = crop_window(target.shape, self.crop)
                target, prediction = target[window], prediction[window]
                valid = (target > low) & (target < high)
                target, prediction = target[valid], prediction[valid]
                lost = prediction.size - np.count_nonzero(np.isfinite(prediction))
                if lost:
                    prediction = np.nan_to_num(prediction, nan=low, posinf=high, neginf=low)
                # positive in any case, for the logarithms
                prediction = np.clip(prediction, low, high) if self.clamp else np.maximum(prediction, 1e-6)
                sums = depth_sums(prediction, target)
                abs_rel = float(metrics_from_sums(sums)[NAMES.index("abs_rel")]) if sums[0] else float("nan")
                self.results.append((image_score(sample, abs_rel, len(self.results)), lost, sums))

    def protocol(self) -> str:
        """Return a description of all settings."""
        limit = "clamped to the same range" if self.clamp else "not clamped"
        mean = "mean over images" if self.average == "image" else "all pixels pooled"
        return (
            f"labels in ({self.min_depth:g}, {self.max_depth:g}) m, crop {self.crop}, predictions {limit}, {mean}, "
            f"inference {self.inference}"
        )

    def compute_metrics(self, results: list[tuple[ImageScore, int, np.ndarray]]) -> dict[str, float | str]:
        require_results(results, "DepthMetric")
        sums = np.stack([row for _, _, row in results])
        used = sums[sums[:, 0] > 0]
        if not len(used):
            raise DataError(
                f"DepthMetric: none of the {len(sums)} images has a label in ({self.min_depth:g}, {self.max_depth:g}) "
                f"m inside the crop {self.crop!r}: check LoadDepth's scale and invalid values"
            )
        not_finite = self._not_finite(results)
        worst = worst_images((image for image, _, _ in results), lower_is_better=True)
        self.details = Details(metric="DepthMetric", worst=worst, score_name="abs_rel of the image")
        values = (
            metrics_from_sums(used).mean(axis=0) if self.average == "image" else metrics_from_sums(used.sum(axis=0))
        )
        MMLogger.get_current_instance().info(f"depth: {self.protocol()}; {len(used)} images")
        return {
            **{name: float(value) for name, value in zip(NAMES, values, strict=True)},
            "skipped": float(len(sums) - len(used)),
            **({"not_finite": not_finite} if not_finite else {}),
            "protocol": self.protocol(),
        }

    def _not_finite(self, results: list[tuple[ImageScore, int, np.ndarray]]) -> float:
        """Return the percentage of non-finite predictions at valid pixels, and warn about them."""
        images = [image.image for image, lost, _ in results if lost]
        lost, total = sum(count for _, count, _ in results), sum(float(row[0]) for _, _, row in results)
        if not lost:
            return 0.0
        text = f"{lost} of {total:.0f} predicted depths are NaN or infinite, in {len(images)} images, first {images[0]}"
        if lost == total:
            raise DataError(f"DepthMetric: {text}: the weights are damaged or training diverged")
        warn("DepthMetric", f"{text}; they are evaluated as {self.min_depth:g} m (NaN, -inf) and {self.max_depth:g} m")
        return 100 * lost / total
