"""Semantic segmentation metrics: mIoU, mAcc and aAcc over the whole dataset, in percent."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from vislab.errors import ConfigError, DataError
from vislab.evaluation.checks import error_context, require_field, require_integers, require_results, warn_unlabeled
from vislab.evaluation.details import Details, ImageScore, class_table, confusion_fields, image_score, worst_images
from vislab.evaluation.frame import require_original_frame
from vislab.registry import METRICS


def confusion_matrix(prediction: Tensor, label: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return the number of pixels of each pair of labeled (rows) and predicted class, (num_classes, num_classes) int64.

    Both maps are (H, W) integers. Pixels that are ignored in the label are not counted.

    Raises:
        DataError: A map contains floats, or values that are not a class.
    """
    for data, what in ((prediction, "a predicted map"), (label, "a label map")):
        require_integers(data, what)
    valid = label != ignore_index
    prediction, label = prediction[valid].long(), label[valid].long()
    for data, what in ((prediction, "prediction"), (label, "label")):
        lowest, highest = (int(value) for value in data.aminmax()) if len(data) else (0, 0)
        if lowest < 0:
            raise DataError(f"the {what} contains class {lowest}; class indices start at 0")
        if highest >= num_classes:
            raise DataError(
                f"the {what} contains class {highest}, there are {num_classes} (0..{num_classes - 1}, {ignore_index} = "
                "ignored)"
            )
    pairs = label * num_classes + prediction
    return torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _iou(confusion: np.ndarray) -> np.ndarray:
    """Return the IoU of each class (C,) float64 for a confusion matrix (C, C); NaN for classes that do not occur."""
    both = np.diag(confusion).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return both / (confusion.sum(axis=0) + confusion.sum(axis=1) - both)


def _mean_iou(confusion: np.ndarray) -> float:
    iou = _iou(confusion)
    return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")


@METRICS.register_module()
class SemSegMetric(BaseMetric):
    """mIoU, mAcc and aAcc in percent. IoU and accuracy by class are logged.

    Areas are summed over the whole dataset. Classes without labeled pixels have no accuracy, and no IoU unless they are
    predicted (then it is 0); undefined values are excluded from the means, and a warning names these classes.
    Predictions must have the size of the labels.

    Attributes:
        details: IoU and accuracy by class, confusion matrix in pixels, and the images with the lowest mIoU.

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
        self.details: Details | None = None

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
                    confusion = confusion_matrix(prediction, label, count, self.ignore_index)
                except DataError as error:
                    raise DataError(f"SemSegMetric: {name}: {error}") from None
                confusion = confusion.cpu().numpy()
                pairs = np.flatnonzero(confusion)  # few of the num_classes^2
                image = image_score(sample, 100 * _mean_iou(confusion), len(self.results))
                self.results.append((pairs, confusion.flat[pairs], label.numel(), image))

    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray, int, ImageScore]]) -> dict[str, float]:
        require_results(results, "SemSegMetric")
        pairs, counts, pixels, images = zip(*results, strict=True)
        size = self._count()
        confusion = np.zeros(size**2, np.int64)
        np.add.at(confusion, np.concatenate(pairs), np.concatenate(counts))
        confusion = confusion.reshape(size, size)
        labeled = confusion.sum(axis=1)
        iou = _iou(confusion)
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = np.diag(confusion) / labeled
            total = np.diag(confusion).sum() / labeled.sum()
        if not labeled.any():
            raise DataError(f"SemSegMetric: all pixels of all {len(results)} labels are ignored ({self.ignore_index})")
        names = (self.dataset_meta or {}).get("classes") or [str(k) for k in range(len(iou))]
        ignored = 1 - labeled.sum() / sum(pixels)
        more = f"; {100 * ignored:.1f} % of all pixels are ignored ({self.ignore_index})" if ignored else ""
        warn_unlabeled("SemSegMetric", names, labeled > 0, "pixel", more)
        lines = [f"{n:>24} {i:>8.2f} {a:>8.2f}" for n, i, a in zip(names, 100 * iou, 100 * accuracy, strict=True)]
        MMLogger.get_current_instance().info("\n".join([f"{'class':>24} {'IoU':>8} {'Acc':>8}", *lines]))
        self.details = Details(
            metric="SemSegMetric",
            classes=class_table(names, {"IoU": 100 * iou, "accuracy": 100 * accuracy, "pixels": labeled}),
            **confusion_fields(confusion, names),
            worst=worst_images(images),
            score_name="mIoU of the image, in percent",
        )
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
