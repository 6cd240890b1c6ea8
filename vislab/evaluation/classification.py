"""Classification: top-k accuracy."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from vislab.errors import DataError
from vislab.registry import METRICS


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Share of images, in percent, whose label is among the k highest scores: `accuracy/top1`, `accuracy/top5`.

    Reads pred_label.score (C,), or pred_label.label where only k = 1 is asked for, and gt_label.label. Of equal
    scores the one with the lower class index counts as higher; NaN counts as lowest. With fewer than k classes every
    image is right.

    Args:
        topk: The ks.
        collect_device: Where results of several processes are gathered, "cpu" or "gpu".
        prefix: First part of the result's names.

    Raises:
        DataError: an image has no label, or one outside the model's classes.
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
        for sample in data_samples:
            if "gt_label" not in sample:
                raise DataError(f"Accuracy: {sample.get('img_path', 'a sample')} has no label (gt_label)")
            self.results.append(_rank(sample))

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """From every image's rank of the true class to percentages."""
        ranks = torch.tensor(results)
        return {f"top{k}": 100.0 * (ranks < k).double().mean().item() for k in self.topk}


def _rank(sample: dict) -> int:
    """How many classes are placed before the true one."""
    target = int(sample["gt_label"]["label"].flatten()[0])
    prediction = sample["pred_label"]
    if "score" not in prediction:
        # only right or wrong is known
        return 0 if int(prediction["label"].flatten()[0]) == target else 1 << 30
    scores = prediction["score"].flatten().float().nan_to_num(nan=float("-inf"))
    if not 0 <= target < len(scores):
        raise DataError(
            f"Accuracy: {sample.get('img_path', 'a sample')} has label {target}, the model scores {len(scores)} "
            f"classes (0..{len(scores) - 1}): num_classes and the data disagree"
        )
    return int((scores > scores[target]).sum() + (scores[:target] == scores[target]).sum())
