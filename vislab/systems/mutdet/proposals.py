"""Pseudo boxes of an image: the interface of proposers, and those that read masks, of SAM from files or of a model."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from vislab.datasets.transforms.masks import decode_mask
from vislab.errors import DataError
from vislab.ops.rotated_nms import rotated_nms
from vislab.structures import DataSample
from vislab.structures.rotated_boxes import mask_to_rbox


class Proposals(NamedTuple):
    """Rotated boxes (M, 5), cx, cy, w, h, theta (le90) in pixels, and their scores (M,), in descending order."""

    rboxes: np.ndarray
    scores: np.ndarray


class Proposer(Protocol):
    """Finds boxes of anything that may be an object; labels are not used."""

    def __call__(self, image: np.ndarray, path: str) -> Proposals:
        """Return the proposals for an image (H, W, 3) uint8 RGB that was read from `path`."""


def choose(
    rboxes: np.ndarray, scores: np.ndarray, *, threshold: float, limit: int | None, min_side: float = 2.0
) -> Proposals:
    """Return at most `limit` of the boxes, best first, without duplicates and without boxes thinner than `min_side`.

    Args:
        rboxes: (N, 5).
        scores: (N,).
        threshold: IoU above which the lower of two boxes is a duplicate.
        limit: Maximum number. None: all.
        min_side: Pixels. The reference implementation drops thinner boxes after their embeddings were computed, which
            shifts one against the other.
    """
    rboxes = np.asarray(rboxes, np.float64).reshape(-1, 5)
    usable = np.flatnonzero((rboxes[:, 2:4] >= min_side).all(axis=1))
    kept = rotated_nms(torch.from_numpy(rboxes[usable]), torch.from_numpy(scores[usable]), threshold=threshold).numpy()
    kept = usable[kept][:limit]
    return Proposals(rboxes[kept].astype(np.float32), scores[kept].astype(np.float32))


def from_masks(masks: Sequence[np.ndarray], scores: np.ndarray | None, limit: int | None) -> Proposals:
    """Return the minimum-area rectangles around masks (H, W), largest masks first if there are no scores."""
    rboxes = np.array([mask_to_rbox(mask) for mask in masks], np.float64).reshape(-1, 5)
    areas = np.array([np.count_nonzero(mask) for mask in masks], np.float64)
    return choose(rboxes, areas if scores is None else np.asarray(scores, np.float64), threshold=1.0, limit=limit)


class MaskFileProposer:
    """Reads the masks of a JSON file per image, such as those of SAM's automatic mask generator.

    A file is a list of dicts, or a dict with this list as `annotations`, with `segmentation` (COCO's RLE or polygons)
    and optionally `predicted_iou` or `score`. Masks are sorted by area, as in the paper.

    Args:
        folder: Folder of the files, named as the images: `P0001.png` -> `P0001.json`.
        limit: Maximum number of boxes per image.
    """

    def __init__(self, folder: str | Path, limit: int | None = None) -> None:
        self.folder, self.limit = Path(folder), limit

    def __call__(self, image: np.ndarray, path: str) -> Proposals:
        file = self.folder / f"{Path(path).stem}.json"
        try:
            content = json.loads(file.read_bytes())
        except OSError as error:
            raise DataError(f"cannot read the masks {file} of {path}: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"{file} is not a JSON file: {error}") from error
        entries = content.get("annotations") if isinstance(content, dict) else content
        if not isinstance(entries, list) or not all(isinstance(e, dict) and "segmentation" in e for e in entries):
            raise DataError(f"{file} is not a list of masks: expected dicts with a segmentation (RLE or polygons)")
        size = image.shape[:2]
        masks = [decode_mask(e["segmentation"], size, f"{file}: mask {i}") for i, e in enumerate(entries)]
        return from_masks(masks, None, self.limit)


class MaskModelProposer:
    """Uses the masks that a model predicts, such as Mask2Former.

    Args:
        predict: Function from a batch of images to DataSamples, such as `Predictor.predict_samples`.
        min_score: Minimum score of a mask.
        limit: Maximum number of boxes per image.
    """

    def __init__(
        self,
        predict: Callable[[list[np.ndarray]], list[DataSample]],
        *,
        min_score: float = 0.3,
        limit: int | None = None,
    ) -> None:
        self.predict, self.min_score, self.limit = predict, min_score, limit

    def __call__(self, image: np.ndarray, path: str) -> Proposals:
        sample = self.predict([image])[0]
        found = sample.get("pred_instances")
        if found is not None and "masks" in found:
            found = found[found.scores >= self.min_score].numpy() if len(found) else found.numpy()
            return from_masks(list(found.masks), found.scores, self.limit)
        if "pred_panoptic" in sample:
            ids = np.asarray(sample.pred_panoptic.data[0].cpu())
            segments = sample.pred_panoptic.segments_info
            return from_masks([ids == segment["id"] for segment in segments], None, self.limit)
        raise DataError("proposals from a model need instance masks or a panoptic map; it predicts neither")
