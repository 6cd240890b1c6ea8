"""Classification: top-k accuracy."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from vislab.errors import DataError
from vislab.evaluation.checks import error_context, require_field, require_results, warn
from vislab.registry import METRICS


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of images, in percent, whose label is among the k highest scores: `accuracy/top1`, `accuracy/top5`.

    Reads pred_label.score (C,), or pred_label.label where only k = 1 is asked for, and gt_label.label. Of equal
    scores the one with the lower class index counts as higher. With fewer than k classes every image is right. An image
    with a score of NaN or +inf is wrong at every k; a warning gives the number of such images and names the first.

    Args:
        topk: The ks.
        collect_device: Where results of several processes are gathered, "cpu" or "gpu".
        prefix: First part of the result's names.

    Raises:
        DataError: an image has no label, more than one, or one outside the model's classes; or the model scores
            another number of classes than the dataset has.
    """

    default_prefix = "accuracy"

    def __init__(
        self, *, topk: int | Sequence[int] = (1, 5), collect_device: str = "cpu", prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ValueError(f"topk={topk!r}: expected integers of at least 1")

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        classes = (self.dataset_meta or {}).get("classes")
        for sample in data_samples:
            with error_context("Accuracy", sample):
                self.results.append(_rank(sample, None if classes is None else len(classes)))

    def compute_metrics(self, results: list[tuple[int, str]]) -> dict[str, float]:
        """From every image's rank of the true class to percentages."""
        require_results(results, "Accuracy")
        ranks = torch.tensor([rank for rank, _ in results])
        metrics = {f"top{k}": 100.0 * (ranks < k).double().mean().item() for k in self.topk}
        broken = [name for _, name in results if name]
        if broken:
            count = f"{len(broken)} of {len(results)} images have scores of NaN or infinity, first {broken[0]}"
            warn("Accuracy", f"{count}; they count as wrong: the weights are damaged or training diverged")
        return metrics


_WRONG = 1 << 30  # beyond every k


def _rank(sample: dict, num_classes: int | None) -> tuple[int, str]:
    """Returns how many classes are placed before the true one, and the image's name where scores are not finite."""
    name = sample.get("img_path", "a sample")
    if "gt_label" not in sample:
        raise DataError(f"Accuracy: {name} has no label (gt_label)")
    truth = sample["gt_label"]["label"].flatten()
    prediction = require_field(sample, "pred_label", "Accuracy", "the model predicts none")
    if len(truth) != 1:
        raise DataError(f"Accuracy: {name} has {len(truth)} labels (gt_label); expected one class an image")
    target = int(truth[0])
    if "score" not in prediction:
        if target < 0 or (num_classes is not None and target >= num_classes):
            raise DataError(f"Accuracy: {name} has label {target}, the dataset has {num_classes} classes")
        # only right or wrong is known
        return (0 if int(prediction["label"].flatten()[0]) == target else _WRONG), ""
    scores = prediction["score"].flatten().float()
    if not 0 <= target < len(scores):
        raise DataError(
            f"Accuracy: {name} has label {target}, the model scores {len(scores)} classes (0..{len(scores) - 1}): "
            "num_classes and the data disagree"
        )
    if num_classes is not None and len(scores) != num_classes:
        raise DataError(
            f"Accuracy: the model gives {len(scores)} scores for {name}, the dataset has {num_classes} classes: "
            "num_classes and the data disagree"
        )
    if not bool((scores < float("inf")).all()):  # -inf is a class that cannot be; NaN is less than nothing
        return _WRONG, name
    return int((scores > scores[target]).sum() + (scores[:target] == scores[target]).sum()), ""
