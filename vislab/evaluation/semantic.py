"""Semantic segmentation metrics: mIoU, mAcc and aAcc over the whole dataset, in percent."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import ConfigError, DataError
from vislab.evaluation.checks import error_context, require_field, require_integers, require_results, warn_unlabeled
from vislab.evaluation.frame import require_original_frame
from vislab.registry import METRICS


def class_areas(prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return the areas in pixels of intersection, prediction and label of each class, (3, num_classes) int64.

    Both maps are (H, W) integers. Pixels that are ignored in the label are not counted. The result has more columns if
    a map contains values of num_classes or more.

    Raises:
        DataError: A map contains floats or negative values.
    """
    for data, what in ((prediction, "a predicted map"), (label, "a label map")):
        require_integers(data, what)
    valid = label != ignore_index
    prediction, label = prediction[valid].long(), label[valid].long()
    try:
        counts = [torch.bincount(x, minlength=num_classes) for x in (label[prediction == label], prediction, label)]
    except RuntimeError:  # bincount takes no negative values
        which, lowest = min((("prediction", prediction), ("label", label)), key=lambda pair: int(pair[1].min()))
        raise DataError(f"the {which} contains class {int(lowest.min())}; class indices start at 0") from None
    width = max(len(x) for x in counts)
    return torch.stack([F.pad(x, (0, width - len(x))) for x in counts])


@METRICS.register_module()
class SemSegMetric(BaseMetric):
    """mIoU, mAcc and aAcc in percent. IoU and accuracy by class are logged.

    Areas are summed over the whole dataset. Classes without labeled pixels have no accuracy, and no IoU unless they are
    predicted (then it is 0); undefined values are excluded from the means, and a warning names these classes.
    Predictions must have the size of the labels.

    Args:
        ignore_index: Label of ignored pixels.
        num_classes: Number of classes. Default: from the class names of the dataset.
        collect_device: See mmengine's BaseMetric.
        prefix: Prefix of the names of the metrics.

    Raises:
        DataError: The sizes differ, or a label or prediction is not a class.
        ConfigError: Neither num_classes nor class names are known.
    """

    default_prefix = None

    def __init__(
        self,
        *,
        ignore_index: int = 255,
        num_classes: int | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index, self.num_classes = ignore_index, num_classes

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix; `*` matches any class name."""
        return ["mIoU", "mAcc", "aAcc"]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        count = self._count()
        for sample in data_samples:
            with error_context("SemSegMetric", sample):
                name = sample.get("img_path", "a sample")
                require_original_frame(sample, "SemSegMetric")
                truth = require_field(sample, "gt_sem_seg", "SemSegMetric", "put LoadSemSeg into the test pipeline")
                found = require_field(sample, "pred_sem_seg", "SemSegMetric", "the model predicts none")
                prediction = found["data"][0]
                label = truth["data"][0].to(prediction.device)
                if prediction.shape != label.shape:
                    raise DataError(
                        f"SemSegMetric: the label of {name} is {tuple(label.shape)} (h, w), its prediction "
                        f"{tuple(prediction.shape)}: load labels of the original size"
                    )
                try:
                    areas = class_areas(prediction, label, count, self.ignore_index)
                except DataError as error:
                    raise DataError(f"SemSegMetric: {name}: {error}") from None
                if areas.shape[1] > count:
                    which = "label" if areas[2, count:].any() else "prediction"
                    raise DataError(
                        f"SemSegMetric: the {which} of {name} contains class {areas.shape[1] - 1}, there are {count} "
                        f"(0..{count - 1}, {self.ignore_index} = ignored)"
                    )
                self.results.append((areas.cpu().numpy(), label.numel()))

    def compute_metrics(self, results: list[tuple[np.ndarray, int]]) -> dict[str, float]:
        require_results(results, "SemSegMetric")
        areas, pixels = zip(*results, strict=True)
        both, predicted, labeled = np.sum(areas, axis=0).astype(np.float64)  # (num_classes,) each
        with np.errstate(invalid="ignore", divide="ignore"):
            iou = both / (predicted + labeled - both)
            accuracy = both / labeled
            total = both.sum() / labeled.sum()
        if not labeled.any():
            raise DataError(f"SemSegMetric: all pixels of all {len(results)} labels are ignored ({self.ignore_index})")
        names = (self.dataset_meta or {}).get("classes") or [str(k) for k in range(len(iou))]
        ignored = 1 - labeled.sum() / sum(pixels)
        more = f"; {100 * ignored:.1f} % of all pixels are ignored ({self.ignore_index})" if ignored else ""
        warn_unlabeled("SemSegMetric", names, labeled > 0, "pixel", more)
        lines = [f"{n:>24} {i:>8.2f} {a:>8.2f}" for n, i, a in zip(names, 100 * iou, 100 * accuracy, strict=True)]
        MMLogger.get_current_instance().info("\n".join([f"{'class':>24} {'IoU':>8} {'Acc':>8}", *lines]))
        return {
            "mIoU": float(100 * np.nanmean(iou)),
            "mAcc": float(100 * np.nanmean(accuracy)),
            "aAcc": float(100 * total),
        }

    def _count(self) -> int:
        if self.num_classes is None:
            classes = (self.dataset_meta or {}).get("classes")
            if not classes:
                raise ConfigError("SemSegMetric: the dataset has no class names: set num_classes")
            self.num_classes = len(classes)
        return self.num_classes
