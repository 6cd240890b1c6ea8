"""Non-maximum suppression of rotated boxes with exact IoU; torchvision.ops.batched_nms is that of other boxes."""

import torch
from torch import Tensor

from vislab.errors import DataError
from vislab.ops.rotated_iou import overlapping_hulls, pair_overlaps

_BLOCK = 512


def rotated_nms(boxes: Tensor, scores: Tensor, labels: Tensor | None = None, *, threshold: float) -> Tensor:
    """Return the boxes that remain after greedy non-maximum suppression.

    Boxes are visited by descending score, in their order if scores are equal. A box is suppressed if its IoU with a box
    that was kept, of the same class, is greater than `threshold`.

    Args:
        boxes: (N, 5) rotated boxes, as in `rotated_iou`.
        scores: (N,).
        labels: (N,) classes; None suppresses across all boxes.
        threshold: IoU in [0, 1].

    Returns:
        Indices of the kept boxes, int64, by descending score.

    Raises:
        DataError: A box or score is not finite, a side is negative, or the lengths differ.
    """
    _check(boxes, scores, labels)
    order = scores.argsort(descending=True, stable=True)
    boxes = boxes.detach()[order].double()
    labels = torch.zeros_like(order) if labels is None else labels[order]
    alive = torch.ones_like(order, dtype=torch.bool)
    for start in range(0, len(boxes), _BLOCK):  # only kept boxes are compared with later blocks
        block = alive[start : start + _BLOCK].nonzero()[:, 0] + start
        first, second = _conflicts(boxes[block], boxes[block], labels[block], labels[block], threshold, ordered=True)
        kept = _greedy(first, second, len(block))
        alive[block] = kept
        block, rest = block[kept], alive[start + _BLOCK :].nonzero()[:, 0] + start + _BLOCK
        _, second = _conflicts(boxes[block], boxes[rest], labels[block], labels[rest], threshold)
        alive[rest[second]] = False
    return order[alive]


def _check(boxes: Tensor, scores: Tensor, labels: Tensor | None) -> None:
    lengths = [len(x) for x in (boxes, scores, labels) if x is not None]
    if boxes.shape[1:] != (5,) or len(set(lengths)) > 1:
        raise DataError(
            f"rotated NMS: boxes {tuple(boxes.shape)}, scores {tuple(scores.shape)}"
            f"{'' if labels is None else f', labels {tuple(labels.shape)}'}; expected (N, 5), (N,) and (N,)"
        )
    valid = boxes.isfinite().all(1) & (boxes[:, 2:4] >= 0).all(1) & scores.isfinite()
    if not valid.all():
        raise DataError(
            f"rotated NMS: {int((~valid).sum())} of {len(boxes)} boxes have a negative side, or a number or score that "
            "is not finite: remove them first"
        )


def _conflicts(
    boxes1: Tensor, boxes2: Tensor, labels1: Tensor, labels2: Tensor, threshold: float, ordered: bool = False
) -> tuple[Tensor, Tensor]:
    """Return indices of pairs of one class with IoU above the threshold; if `ordered`, those with first < second."""
    first, second = overlapping_hulls(boxes1, boxes2)
    near = labels1[first] == labels2[second]
    if ordered:
        near &= first < second
    first, second = first[near], second[near]
    high = pair_overlaps(boxes1, boxes2, first, second) > threshold
    return first[high], second[high]


def _greedy(first: Tensor, second: Tensor, count: int) -> Tensor:
    """Return which of `count` boxes are kept, where first[i] < second[i] exclude each other.

    All boxes are updated at once until nothing changes. After n rounds, at least the first n boxes have their final
    state, and in practice a few rounds suffice.
    """
    kept = torch.ones(count, dtype=torch.bool, device=first.device)
    while True:
        update = torch.ones_like(kept)
        update[second[kept[first]]] = False
        if torch.equal(update, kept):
            return kept
        kept = update
