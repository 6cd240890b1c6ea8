"""Building blocks of set prediction losses: matching of all outputs, matched rows, class loss, deep supervision.

A criterion adds its matching cost and the losses of matched pairs. The pairs of an output are a list of (queries,
targets) per image, int64 tensors of equal length.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import DataError
from vislab.models.matcher import assign, fetch

Pairs = Sequence[tuple[Tensor, Tensor]]


def match_outputs(
    costs: Sequence[Sequence[Tensor]], states: Sequence[Tensor], num_classes: int
) -> tuple[list[np.ndarray], list[Pairs]]:
    """Match the queries of each output to the targets of each image. Copies costs and states from the device once.

    Args:
        costs: (Q, T) matching costs as [output][image].
        states: (T,) per image: 1 for targets, 0 for entries to skip, -1 for classes out of range.
        num_classes: Number of classes, for the error message.

    Returns:
        Indices of the targets among the entries of each image, and the pairs of each output, which refer to these
        targets.

    Raises:
        DataError: A class is out of range.
        TrainingError: A cost is not finite.
    """
    count = len(states)
    arrays = fetch([*(cost for output in costs for cost in output), *states])
    kept = [_kept(state, num_classes) for state in arrays[-count:]]
    pairs = assign([cost[:, kept[i % count]] for i, cost in enumerate(arrays[:-count])], states[0].device)
    return kept, [pairs[i : i + count] for i in range(0, len(pairs), count)]


def _kept(state: np.ndarray, num_classes: int) -> np.ndarray:
    if (state < 0).any():
        raise DataError(
            f"a label of the batch is not among the model's {num_classes} classes (0..{num_classes - 1}): num_classes "
            "and the data disagree"
        )
    return np.flatnonzero(state)


def matched_rows(pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return image and query indices of all pairs, which index the matched rows of a (B, Q, ...) tensor."""
    images = torch.cat([torch.full_like(queries, i) for i, (queries, _) in enumerate(pairs)])
    return images, torch.cat([queries for queries, _ in pairs])


def matched_targets(values: Sequence[Tensor], pairs: Pairs) -> Tensor:
    """Return the rows of `values` (T, ...) of the images in the order of `matched_rows`."""
    return torch.cat([value[targets] for value, (_, targets) in zip(values, pairs, strict=True)])


def class_loss(logits: Tensor, labels: Sequence[Tensor], pairs: Pairs, *, no_object_weight: float) -> Tensor:
    """Return the weighted mean of the cross entropy of all queries.

    Args:
        logits: (B, Q, C + 1); the last class is "no object", the label of unmatched queries.
        labels: (T,) int64 per image.
        pairs: Matched pairs of this output.
        no_object_weight: Weight of "no object"; all other classes have weight 1.
    """
    classes = torch.full(logits.shape[:2], logits.shape[2] - 1, dtype=torch.int64, device=logits.device)
    classes[matched_rows(pairs)] = matched_targets(labels, pairs)
    weight = logits.new_ones(logits.shape[2])
    weight[-1:].fill_(no_object_weight)  # weight[-1] = ... would synchronize with the device
    return F.cross_entropy(logits.transpose(1, 2), classes, weight)


def mean_count(count: int, device: torch.device) -> Tensor:
    """Return `count` averaged over all processes, at least 1, by which sums over targets are divided."""
    total = torch.full((), float(count), device=device)
    if get_world_size() > 1:
        all_reduce(total)
        total = total / get_world_size()
    return total.clamp(min=1)


def name_outputs(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the losses of all outputs in one dict: those of output i as d<i>.NAME, those of the last one as NAME."""
    prefixes = [f"d{i}." for i in range(len(losses) - 1)] + [""]
    return {prefix + name: value for prefix, one in zip(prefixes, losses, strict=True) for name, value in one.items()}
