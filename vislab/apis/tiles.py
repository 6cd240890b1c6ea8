"""Predict large images in overlapping tiles, and merge the detections by non-maximum suppression."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmengine.structures import InstanceData
from torch import Tensor
from torchvision.ops import batched_nms

from vislab.errors import ConfigError, DataError
from vislab.ops.rotated_iou import rotated_iou_matrix
from vislab.ops.rotated_nms import rotated_nms
from vislab.structures import DataSample
from vislab.structures.rotated_boxes import hboxes_to_rboxes, rboxes_to_hboxes, translate
from vislab.structures.tiles import Tile, check_tiles, tile_windows

ROTATED_THRESHOLD = 0.1  # as in the publications on DOTA
UPRIGHT_THRESHOLD = 0.5
_INSIDE = 0.5  # part of the area of a detection that lies in another one
_MERGED = ("labels", "scores", "bboxes", "rbboxes")


@dataclass(frozen=True)
class Tiles:
    """Settings of the tiles into which large images are cut.

    Args:
        size: Side of the tiles in pixels; images of at most this size are predicted as a whole.
        overlap: Overlap of neighboring tiles in pixels, more than the length of the objects.
        batch_size: Number of tiles per batch.
        threshold: IoU above which the lower of two detections of a class is removed. Default: 0.1 for rotated boxes,
            0.5 for others.
        drop_parts: Also remove parts of objects: detections that end at the border of a tile inside the image and lie
            within a detection of the same class, of another tile, that does not.

    Raises:
        ConfigError: A number is out of its range.
    """

    size: int = 1024
    overlap: int = 200
    batch_size: int = 1
    threshold: float | None = None
    drop_parts: bool = True

    def __post_init__(self) -> None:
        check_tiles(self.size, self.overlap)
        if self.batch_size < 1:
            raise ConfigError(f"batch_size={self.batch_size}: at least 1")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ConfigError(f"threshold={self.threshold} is not an IoU: expected 0..1")


def predict_tiles(
    predict: Callable[[list[np.ndarray], list[str]], list[DataSample]], image: np.ndarray, name: str, tiles: Tiles
) -> DataSample:
    """Return the detections in an image, predicted in tiles.

    Args:
        predict: Function that predicts a batch of images with names.
        image: (H, W, 3) uint8.
        name: Name of the image.
        tiles: See Tiles.

    Raises:
        DataError: The model predicts no boxes, or also maps or masks, which cannot be merged.
    """
    windows = tile_windows(image.shape[:2], tiles.size, tiles.overlap)
    if len(windows) == 1:
        return predict([image], [name])[0]
    moved = []
    for start in range(0, len(windows), tiles.batch_size):
        batch = windows[start : start + tiles.batch_size]
        parts = [image[t.top : t.top + t.height, t.left : t.left + t.width] for t in batch]
        samples = predict(parts, [f"{name}, tile {t.left}, {t.top}" for t in batch])
        moved += [_shift(_boxes(sample, name), tile) for sample, tile in zip(samples, batch, strict=True)]
    shape = image.shape[:2]
    merged = DataSample(metainfo={"img_path": name, "ori_shape": shape, "img_shape": shape, "scale_factor": (1.0, 1.0)})
    if tiles.drop_parts:
        moved = drop_parts(moved, windows, shape)
    merged.pred_instances = merge_instances(InstanceData.cat(moved), tiles.threshold)
    return merged


def drop_parts(found: Sequence[InstanceData], windows: Sequence[Tile], shape: tuple[int, int]) -> list[InstanceData]:
    """Return the detections of each tile without those that are parts of an object seen as a whole in another tile.

    Non-maximum suppression keeps such parts, whose IoU with the object is small.

    Args:
        found: Detections of each tile, in the frame of the image.
        windows: The tiles.
        shape: Height and width of the image.
    """
    cut = [_is_cut(_rboxes(part), tile, shape) for part, tile in zip(found, windows, strict=True)]
    everything = InstanceData.cat(list(found))
    is_cut = torch.cat(cut)
    parts, wholes = everything[is_cut], everything[~is_cut]
    inside = rotated_iou_matrix(_rboxes(parts), _rboxes(wholes), mode="iof") > _INSIDE
    same = parts.labels[:, None] == wholes.labels
    confident = wholes.scores >= parts.scores[:, None] / 2
    keep = torch.ones(len(everything), dtype=torch.bool)
    keep[is_cut] = ~(inside & same & confident).any(dim=1)
    return [part[chosen] for part, chosen in zip(found, keep.split([len(part) for part in found]), strict=True)]


def _rboxes(found: InstanceData) -> Tensor:
    return (found.rbboxes if "rbboxes" in found else hboxes_to_rboxes(found.bboxes)).double()


def _is_cut(rboxes: Tensor, tile: Tile, shape: tuple[int, int]) -> Tensor:
    """Return which boxes (N, 5) reach the border of a tile where the image goes on."""
    x1, y1, x2, y2 = rboxes_to_hboxes(rboxes).unbind(-1)
    margin = max(2.0, 0.01 * max(tile.width, tile.height))
    right, bottom = tile.left + tile.width, tile.top + tile.height
    cut = torch.zeros(len(rboxes), dtype=torch.bool)
    for goes_on, reaches in (
        (tile.left > 0, x1 < tile.left + margin),
        (tile.top > 0, y1 < tile.top + margin),
        (right < shape[1], x2 > right - margin),
        (bottom < shape[0], y2 > bottom - margin),
    ):
        if goes_on:
            cut |= reaches
    return cut


def merge_instances(instances: InstanceData, threshold: float | None = None) -> InstanceData:
    """Return the detections that remain after non-maximum suppression per class, by descending score.

    Args:
        instances: Labels, scores, and rbboxes (N, 5), else bboxes (N, 4).
        threshold: See Tiles.
    """
    labels, scores = instances.labels, instances.scores.float()
    if "rbboxes" in instances:
        limit = ROTATED_THRESHOLD if threshold is None else threshold
        kept = rotated_nms(instances.rbboxes, scores, labels, threshold=limit)
    else:
        limit = UPRIGHT_THRESHOLD if threshold is None else threshold
        kept = batched_nms(instances.bboxes.float(), scores, labels, limit)
    return instances[kept]


def _boxes(sample: DataSample, name: str) -> InstanceData:
    """Return the detections of a tile on the CPU."""
    maps = [key for key in ("pred_sem_seg", "pred_panoptic", "pred_depth", "pred_label", "pred_image") if key in sample]
    found = sample.get("pred_instances")
    if found is None or maps or "masks" in found or not ({"bboxes", "rbboxes"} & set(found.keys())):
        given = ", ".join(maps or (["masks"] if found is not None and "masks" in found else ["no boxes"]))
        raise DataError(f"{name}: only detected boxes can be merged from tiles; the model predicts {given}")
    return InstanceData(**{key: value.cpu() for key, value in found.items() if key in _MERGED})


def _shift(found: InstanceData, tile: Tile) -> InstanceData:
    """Move detections from the frame of a tile to that of the image."""
    if "bboxes" in found:
        found.bboxes = found.bboxes + torch.tensor([tile.left, tile.top] * 2, dtype=found.bboxes.dtype)
    if "rbboxes" in found:
        found.rbboxes = translate(found.rbboxes, tile.left, tile.top)
    return found
