"""Building blocks of set prediction losses: matching of all outputs, matched rows, class loss, deep supervision.

A criterion adds its matching cost and the losses of matched pairs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import DataError
from vislab.models.matcher import assign, fetch


@dataclass(frozen=True)
class Matches:
    """Matched pairs of L outputs: indices (L, N) int64 of images, queries, and objects among the entries of an image.

    All outputs have the same N; pairs are sorted by image, then by query. An index gives the pairs of one output, (N,).
    """

    images: Tensor
    queries: Tensor
    objects: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int | slice) -> "Matches":
        return Matches(self.images[index], self.queries[index], self.objects[index])

    def of(self, values: Tensor) -> Tensor:
        """Return the matched rows (L, N, ...) of `values` (L, B, Q, ...) of all outputs."""
        outputs = torch.arange(len(self), device=values.device)[:, None]
        return values[outputs, self.images, self.queries]


def match_outputs(
    costs: Sequence[Tensor], states: Tensor, counts: Sequence[int], num_classes: int
) -> tuple[list[np.ndarray], list[Matches]]:
    """Match the queries of all outputs to the objects of each image. Costs and states are copied from the device once,
    and all pairs to it.

    Args:
        costs: (L, B, Q, T) matching costs of groups of outputs; L and Q may differ between groups.
        states: (B, T): 1 for objects, 0 for entries to skip and for padding, -1 for classes out of range.
        counts: Number of entries of each image, at most T.
        num_classes: Number of classes, for the error message.

    Returns:
        Indices of the objects among the entries of each image, and the pairs of each group.

    Raises:
        DataError: A class is out of range.
        TrainingError: A cost is not finite.
    """
    *arrays, state = fetch([*costs, states])
    kept = [_kept(row[:count], num_classes) for row, count in zip(state, counts, strict=True)]
    single = [output[image][:, rows] for array in arrays for output in array for image, rows in enumerate(kept)]
    pairs = iter(assign(single))
    groups = []
    for array in arrays:
        found = np.empty((3, len(array), sum(min(array.shape[2], len(rows)) for rows in kept)), np.int64)
        for output in range(len(array)):
            place = 0
            for image, rows in enumerate(kept):
                queries, columns = next(pairs)
                part = found[:, output, place : place + len(queries)]
                part[0], part[1], part[2] = image, queries, rows[columns]
                place += len(queries)
        groups.append(found)
    joined = torch.from_numpy(np.concatenate([g.ravel() for g in groups])).to(states.device, non_blocking=True)
    parts = joined.split([g.size for g in groups])
    return kept, [Matches(*part.view(g.shape)) for part, g in zip(parts, groups, strict=True)]


def _kept(state: np.ndarray, num_classes: int) -> np.ndarray:
    if (state < 0).any():
        raise DataError(
            f"a label of the batch is not among the model's {num_classes} classes (0..{num_classes - 1}): num_classes "
            "and the data disagree"
        )
    return np.flatnonzero(state)


def class_losses(logits: Tensor, labels: Tensor, matches: Matches, *, no_object_weight: float) -> Tensor:
    """Return the weighted means (L,) of the cross entropy of all queries of L outputs.

    Args:
        logits: (L, B, Q, C + 1); the last class is "no object", the label of unmatched queries.
        labels: (B, T) int64.
        matches: Matched pairs of the outputs.
        no_object_weight: Weight of "no object"; all other classes have weight 1.
    """
    outputs, _, queries, classes = logits.shape
    wanted = torch.full(logits.shape[:3], classes - 1, dtype=torch.int64, device=logits.device)
    rows = torch.arange(outputs, device=logits.device)[:, None]
    wanted[rows, matches.images, matches.queries] = labels[matches.images, matches.objects]
    weight = logits.new_ones(classes)
    weight[-1:].fill_(no_object_weight)  # weight[-1] = ... would synchronize with the device
    entropy = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), weight, reduction="none")
    return entropy.view(outputs, -1).sum(1) / weight[wanted].flatten(1).sum(1)


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
