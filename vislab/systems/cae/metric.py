"""Metric of pre-training: the mean losses of the validation images."""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from vislab.errors import DataError
from vislab.evaluation.checks import require_results
from vislab.registry import METRICS

NAMES = ("reconstruction", "alignment")


@METRICS.register_module()
class MaskedLosses(BaseMetric):
    """Mean losses without their weights, as far as the model has them: `masked/reconstruction`, `masked/alignment`.

    Reads pred_reconstruction_loss and pred_alignment_loss, scalars.

    Args:
        collect_device: Device for gathering the results of several processes, "cpu" or "gpu".
        prefix: Prefix of the names of the metrics.

    Raises:
        DataError: A sample has neither loss, or samples differ in the losses they have.
    """

    default_prefix = "masked"

    def __init__(self, *, collect_device: str = "cpu", prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)

    def result_names(self) -> list[str]:
        """Return the names of the results of `compute_metrics` without prefix."""
        return list(NAMES)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            keys = {name: f"pred_{name}_loss" for name in NAMES}
            found = {name: float(torch.as_tensor(sample[key])) for name, key in keys.items() if key in sample}
            if not found:
                image = sample.get("img_path", "a sample")
                raise DataError(f"MaskedLosses: {image} has no losses: the model is not one of masked pre-training")
            self.results.append(found)

    def compute_metrics(self, results: list[dict[str, float]]) -> dict[str, float]:
        """Compute the means over all images."""
        require_results(results, "MaskedLosses")
        names = list(results[0])
        if any(list(result) != names for result in results):
            raise DataError("MaskedLosses: samples differ in the losses they have")
        return {name: sum(result[name] for result in results) / len(results) for name in names}
