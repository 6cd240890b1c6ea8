"""Classification: top-k accuracy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from vislab.errors import DataError
from vislab.evaluation.checks import error_context, require_field, require_results, warn
from vislab.evaluation.details import Details, class_table, confusion_fields, image_score, worst_images
from vislab.registry import METRICS


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Top-k accuracy in percent: `accuracy/top1`, `accuracy/top5`.

    Reads gt_label.label and pred_label.score (C,), or pred_label.label without scores. Of equal scores, the lower class
    index ranks first. Images with a score of NaN or +inf count as wrong for all k; a warning reports their number.

    Args:
        topk: Values of k.
        collect_device: Device for gathering the results of several processes, "cpu" or "gpu".
        prefix: Prefix of the names of the metrics.

    Attributes:
        details: Accuracy by class, confusion matrix, and the images whose true class has the lowest probability.

    Raises:
        DataError: An image has no label, several labels, or one that is not a class of the model; or the number of
            scores differs from the number of classes of the dataset.
    """

    default_prefix = "accuracy"

    def __init__(
        self, *, topk: int | Sequence[int] = (1, 5), collect_device: str = "cpu", prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.details: Details | None = None
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ValueError(f"topk={topk!r}: expected integers of at least 1")

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix; `*` matches any class name."""
        return [f"top{k}" for k in self.topk]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        classes = (self.dataset_meta or {}).get("classes")
        for sample in data_samples:
            with error_context("Accuracy", sample):
                result = _rank(sample, None if classes is None else len(classes))
                self.results.append(result | {"image": image_score(sample, result["probability"], len(self.results))})

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Compute the accuracies from the rank of the true class of each image."""
        require_results(results, "Accuracy")
        ranks = torch.tensor([result["rank"] for result in results])
        metrics = {f"top{k}": 100.0 * (ranks < k).double().mean().item() for k in self.topk}
        self.details = self._details(results)
        broken = [result["broken"] for result in results if result["broken"]]
        if broken:
            count = f"{len(broken)} of {len(results)} images have scores of NaN or infinity, first {broken[0]}"
            warn("Accuracy", f"{count}; they count as wrong: the weights are damaged or training diverged")
        return metrics

    def _details(self, results: list[dict[str, Any]]) -> Details:
        target, predicted = (np.array([result[key] for result in results]) for key in ("target", "predicted"))
        names = (self.dataset_meta or {}).get("classes") or range(int(max(target.max(), predicted.max())) + 1)
        valid = (predicted >= 0) & (predicted < len(names))
        pairs = target[valid] * len(names) + predicted[valid]
        confusion = np.bincount(pairs, minlength=len(names) ** 2).reshape(len(names), len(names))
        count = np.bincount(target, minlength=len(names))
        with np.errstate(invalid="ignore", divide="ignore"):
            accuracy = 100 * np.diag(confusion) / count
        return Details(
            metric="Accuracy",
            classes=class_table(names, {"images": count, "accuracy": accuracy}),
            **confusion_fields(confusion, names),
            worst=worst_images(result["image"] for result in results),
            score_name="probability of the true class",
        )


_WRONG = 1 << 30  # a rank larger than all k


def _rank(sample: dict, num_classes: int | None) -> dict[str, Any]:
    """Return what the metric keeps of one image.

    The rank of the true class; `broken`, the name of the image if its scores are not finite, else ""; the true and the
    predicted class (-1 if unknown); and the probability of the true class (NaN without scores).
    """
    name = sample.get("img_path", "a sample")
    if "gt_label" not in sample:
        raise DataError(f"Accuracy: {name} has no label (gt_label)")
    truth = sample["gt_label"]["label"].flatten()
    prediction = require_field(sample, "pred_label", "Accuracy", "the model predicts none")
    if len(truth) != 1:
        raise DataError(f"Accuracy: {name} has {len(truth)} labels (gt_label); expected one class per image")
    target = int(truth[0])
    if "score" not in prediction:
        if target < 0 or (num_classes is not None and target >= num_classes):
            raise DataError(f"Accuracy: {name} has label {target}, the dataset has {num_classes} classes")
        label = int(prediction["label"].flatten()[0])
        return _result(0 if label == target else _WRONG, target, label)
    scores = prediction["score"].flatten().float()
    if not 0 <= target < len(scores):
        raise DataError(
            f"Accuracy: {name} has label {target}, the model scores {len(scores)} classes (0..{len(scores) - 1}): "
            "num_classes and the data disagree"
        )
    if num_classes is not None and len(scores) != num_classes:
        raise DataError(
            f"Accuracy: the model returns {len(scores)} scores for {name}, the dataset has {num_classes} classes: "
            "num_classes and the data disagree"
        )
    if not bool((scores < float("inf")).all()):  # -inf is allowed for impossible classes
        return _result(_WRONG, target, -1) | {"broken": name}
    rank = int((scores > scores[target]).sum() + (scores[:target] == scores[target]).sum())
    return _result(rank, target, int(scores.argmax()), float(scores[target]))


def _result(rank: int, target: int, predicted: int, probability: float = float("nan")) -> dict[str, Any]:
    return {"rank": rank, "broken": "", "target": target, "predicted": predicted, "probability": probability}
