"""Postprocessing of Mask2Former: panoptic, instance and semantic predictions from classes and masks at stride 4.

The rules are those of the official implementation. Masks are resized in strips of rows, so memory is bounded for any
number of queries and image size.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from mmengine.structures import InstanceData, PixelData
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.registry import TASK_UTILS
from vislab.structures import DataSample

_ELEMENTS = 1 << 22  # per strip: 16 MiB in float32

TASKS = ("panoptic", "instance", "semantic")


@dataclass(frozen=True)
class Frames:
    """Sizes (h, w) of the padded input, the image inside it, and the original image."""

    padded: tuple[int, int]
    image: tuple[int, int]
    original: tuple[int, int]


@TASK_UTILS.register_module()
class MaskInference:
    """Computes the predictions of one image for each of the tasks.

    Args:
        tasks: Some of "panoptic", "instance" and "semantic", which fill pred_panoptic, pred_instances and pred_sem_seg.
        score_threshold, overlap_threshold: See `panoptic`.
        max_instances, rle_masks: See `instances`.
        sigmoid_first: See `semantic`.

    Raises:
        ConfigError: If there are no tasks or an unknown one.
    """

    def __init__(
        self,
        *,
        tasks: Sequence[str] = ("panoptic",),
        score_threshold: float = 0.8,
        overlap_threshold: float = 0.8,
        max_instances: int = 100,
        sigmoid_first: bool = False,
        rle_masks: bool = False,
    ) -> None:
        if not tasks or not set(tasks) <= set(TASKS):
            raise ConfigError(f"MaskInference: tasks={list(tasks)}; expected one or more of {', '.join(TASKS)}")
        self.tasks = tuple(tasks)
        self.score_threshold, self.overlap_threshold = score_threshold, overlap_threshold
        self.max_instances, self.sigmoid_first, self.rle_masks = max_instances, sigmoid_first, rle_masks

    def __call__(
        self, class_logits: Tensor, masks: Tensor, sample: DataSample, padded: tuple[int, int], is_thing: Tensor
    ) -> None:
        """Store predictions in `sample`, whose img_shape and ori_shape are its sizes in the padded input and file.

        Args:
            class_logits: (Q, C + 1).
            masks: (Q, h, w) logits.
            sample: DataSample of the image.
            padded: (height, width) of the padded input.
            is_thing: (C,) bool.
        """
        image = tuple(sample.get("img_shape", padded))
        frames = Frames(padded, image, tuple(sample.get("ori_shape", image)))
        if "panoptic" in self.tasks:
            ids, segments = panoptic(
                class_logits,
                masks,
                frames,
                is_thing,
                score_threshold=self.score_threshold,
                overlap_threshold=self.overlap_threshold,
            )
            sample.pred_panoptic = PixelData(data=ids[None], metainfo={"segments_info": segments})
        if "instance" in self.tasks:
            found = instances(
                class_logits, masks, frames, is_thing, max_instances=self.max_instances, rle_masks=self.rle_masks
            )
            sample.pred_instances = InstanceData(**found)
        if "semantic" in self.tasks:
            labels = semantic(class_logits, masks, frames, sigmoid_first=self.sigmoid_first)
            sample.pred_sem_seg = PixelData(data=labels[None])


def enlarge(
    masks: Tensor, frames: Frames, between: Callable[[Tensor], Tensor] | None = None, elements: int = _ELEMENTS
) -> Iterator[tuple[slice, Tensor]]:
    """Resize masks to the padded input, remove the padding, and resize to the original image, both bilinear.

    Args:
        masks: (N, h, w) logits.
        frames: The sizes.
        between: Function applied after the first resizing.
        elements: Maximum number of elements per strip, which has at least one row.

    Yields:
        (rows, masks (N, r, W)) for strips of rows of the original image.
    """
    height, width = frames.original
    strip = max(1, elements // max(1, len(masks) * max(width, frames.padded[1])))
    top, bottom, fraction = _taps(frames.image[0], height, masks)
    for start in range(0, height, strip):
        stop = min(start + strip, height)
        same = height == frames.image[0]
        first, last = (start, stop - 1) if same else (int(top[start]), int(bottom[stop - 1]))  # required rows
        part = _resize_rows(masks, frames.padded[0], first, last + 1)
        part = _resize_columns(part, frames.padded[1])[..., : frames.image[1]]
        part = part if between is None else between(part)
        if not same:
            rows = slice(start, stop)
            above, below = part[:, top[rows] - first], part[:, bottom[rows] - first]
            part = torch.lerp(above, below, fraction[rows, None].expand_as(above))
        yield slice(start, stop), _resize_columns(part, width)


def _taps(size: int, out: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the source rows above and below each of `out` rows, and the interpolation weights, as in F.interpolate."""
    place = (torch.arange(out, dtype=torch.float64) + 0.5) * (size / out) - 0.5
    place = place.clamp(min=0)
    top = place.long().clamp(max=size - 1)
    fraction = (place - top).to(like.dtype).to(like.device)
    return top.to(like.device), (top + 1).clamp(max=size - 1).to(like.device), fraction


def _resize_rows(masks: Tensor, out: int, start: int, stop: int) -> Tensor:
    """Return rows start..stop of masks (N, h, w) resized to `out` rows: (N, stop - start, w)."""
    if masks.shape[1] == out:
        return masks[:, start:stop]
    top, bottom, fraction = (x[start:stop] for x in _taps(masks.shape[1], out, masks))
    above = masks[:, top]
    return torch.lerp(above, masks[:, bottom], fraction[:, None].expand_as(above))


def _resize_columns(masks: Tensor, width: int) -> Tensor:
    if masks.shape[2] == width or not len(masks):
        return masks if masks.shape[2] == width else masks.new_zeros(*masks.shape[:2], width)
    size = (masks.shape[1], width)
    return F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]


def panoptic(
    class_logits: Tensor,
    masks: Tensor,
    frames: Frames,
    is_thing: Tensor,
    *,
    score_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
) -> tuple[Tensor, list[dict]]:
    """Compute a panoptic segmentation.

    Args:
        class_logits: (Q, C + 1).
        masks: (Q, h, w) logits.
        frames: Sizes.
        is_thing: (C,) bool, classes whose segments are not merged.
        score_threshold: Minimum score of the best class of a query, which must not be "no object".
        overlap_threshold: Minimum fraction of the mask of a segment that is not covered by other segments.

    Returns:
        Segment ids (H, W) int32, 0 = none, and segments as dict(id, category, iscrowd, area, score).
    """
    scores, labels = class_logits.float().softmax(-1).max(-1)
    keep = (labels != class_logits.shape[1] - 1) & (scores > score_threshold)
    scores, labels, masks = scores[keep], labels[keep], masks[keep]
    count = len(labels)
    device = masks.device
    result = torch.zeros(frames.original, dtype=torch.int32, device=device)
    if count == 0:
        return result, []
    won = torch.zeros(count, dtype=torch.int64, device=device)  # pixels in which a query has the highest score
    own = torch.zeros(count, dtype=torch.int64, device=device)  # pixels of its own mask
    for rows, strip in enlarge(masks, frames):
        probability = strip.float().sigmoid()
        best = (probability * scores[:, None, None]).argmax(0)  # (r, W)
        won += torch.bincount(best.flatten(), minlength=count)
        own += (probability >= 0.5).sum((1, 2))
        sure = probability.gather(0, best[None])[0] >= 0.5
        result[rows] = torch.where(sure, best + 1, 0).to(torch.int32)
    final = torch.bincount(result.flatten(), minlength=count + 1)[1:]
    valid = (won > 0) & (own > 0) & (final > 0) & (won / own.clamp(min=1) >= overlap_threshold)
    table = torch.zeros(count + 1, dtype=torch.int32)
    segments: list[dict] = []
    merged: dict[int, dict] = {}
    for query, (ok, label, area, score) in enumerate(
        zip(valid.tolist(), labels.tolist(), final.tolist(), scores.tolist(), strict=True)
    ):
        if not ok:
            continue
        if label in merged:
            merged[label]["area"] += area
            table[query + 1] = merged[label]["id"]
            continue
        segment = {"id": len(segments) + 1, "category": label, "iscrowd": 0, "area": area, "score": score}
        segments.append(segment)
        table[query + 1] = segment["id"]
        if not bool(is_thing[label]):
            merged[label] = segment
    return table.to(device)[result.long()], segments


def semantic(class_logits: Tensor, masks: Tensor, frames: Frames, *, sigmoid_first: bool = False) -> Tensor:
    """Return the class of each pixel, (H, W) int64, by the sum over queries of class and mask probabilities.

    Args:
        class_logits: (Q, C + 1).
        masks: (Q, h, w) logits.
        frames: Sizes.
        sigmoid_first: Resize probabilities instead of logits to the original size, as in official semantic models.
    """
    weights = class_logits.float().softmax(-1)[:, :-1].T.contiguous()  # (C, Q)
    result = torch.empty(frames.original, dtype=torch.int64, device=masks.device)
    between = torch.sigmoid if sigmoid_first else None
    # one strip for queries and one for classes
    elements = _ELEMENTS * len(masks) // (len(masks) + len(weights))
    for rows, strip in enlarge(masks.float(), frames, between, elements):
        probability = strip if sigmoid_first else strip.sigmoid()
        shape = probability.shape[1:]
        result[rows] = (weights @ probability.flatten(1)).argmax(0).view(shape)
    return result


def instances(
    class_logits: Tensor,
    masks: Tensor,
    frames: Frames,
    is_thing: Tensor,
    *,
    max_instances: int = 100,
    rle_masks: bool = False,
) -> dict:
    """Compute instances from the pairs of query and class with the highest scores.

    Args:
        class_logits: (Q, C + 1).
        masks: (Q, h, w) logits.
        frames: Sizes.
        is_thing: (C,) bool, classes of the returned instances.
        max_instances: Number of pairs, before selecting thing classes.
        rle_masks: Return masks as COCO RLE, so that only a few are in memory at full size.

    Returns:
        Labels (N,), scores (N,), bboxes (N, 4) xyxy of the masks, masks (N, H, W) bool or a list of N RLE.
    """
    probability = class_logits.float().softmax(-1)[:, :-1]
    scores, chosen = probability.flatten().topk(min(max_instances, probability.numel()))
    queries, labels = chosen // probability.shape[1], chosen % probability.shape[1]
    keep = is_thing[labels]
    scores, queries, labels = scores[keep], queries[keep], labels[keep]
    unique, place = queries.unique(return_inverse=True)
    h, w = frames.original
    few = max(1, _ELEMENTS // (h * w))
    quality, boxes, found = [], [], []
    for group in unique.split(few):
        for _, logits in enlarge(masks[group].float(), frames, elements=1 << 62):
            inside = logits > 0  # (n, H, W)
            weight = (logits.sigmoid() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)
            quality.append(weight)
            boxes.append(_boxes(inside))
            found.append(_encode(inside) if rle_masks else inside)
    if not found:
        empty = [] if rle_masks else masks.new_zeros((0, h, w), dtype=torch.bool)
        return {"labels": labels, "scores": scores, "bboxes": scores.new_zeros(0, 4), "masks": empty}
    if rle_masks:
        encoded = [item for group in found for item in group]
        final = [encoded[i] for i in place.tolist()]
    else:
        final = torch.cat(found)[place]
    return {
        "labels": labels,
        "scores": scores * torch.cat(quality)[place],
        "bboxes": torch.cat(boxes)[place],
        "masks": final,
    }


def _boxes(masks: Tensor) -> Tensor:
    """Return the boxes (N, 4) xyxy of masks (N, H, W) bool; zeros for empty masks."""
    edges = []
    for axis in (1, 2):  # columns, rows
        line = masks.any(axis).to(torch.uint8)
        low, high = line.argmax(1), line.shape[1] - line.flip(1).argmax(1)
        some = line.any(1)
        edges.append((low * some, high * some))
    (x0, x1), (y0, y1) = edges
    return torch.stack((x0, y0, x1, y1), dim=1).float()


def _encode(masks: Tensor) -> list[dict]:
    from pycocotools import mask as coco

    columns = masks.permute(1, 2, 0).to(torch.uint8).cpu().numpy()
    return coco.encode(columns.copy(order="F"))
