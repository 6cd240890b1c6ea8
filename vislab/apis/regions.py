"""Objects and segments of an image as boxes and masks, in the formats of COCO and supervision."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pycocotools import mask as coco
from torchvision.ops import masks_to_boxes

from vislab.apis.results import as_rle
from vislab.errors import ConfigError

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True)
class Regions:
    """N objects or segments of an image.

    Attributes:
        boxes: (N, 4) float32, x1, y1, x2, y2.
        labels: (N,) int64.
        scores: (N,) float32, or None.
        masks: (N, H, W) bool, or None.
        corners: (N, 4, 2) float32, corners of rotated boxes, or None.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None
    corners: np.ndarray | None = None

    def to_coco(
        self, image_id: int | str, *, classes: Sequence[str] = (), category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Return one dict per region in COCO's format of results; see `Prediction.to_coco`."""
        rows = []
        for i, (box, label) in enumerate(zip(self.boxes.tolist(), self.labels.tolist(), strict=True)):
            x1, y1, x2, y2 = box
            category = label if category_ids is None else int(category_ids[label])
            row: dict[str, Any] = {"image_id": image_id, "category_id": category, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            row["area"] = (x2 - x1) * (y2 - y1)
            if label < len(classes):
                row["category_name"] = classes[label]
            if self.scores is not None:
                row["score"] = float(self.scores[i])
            if self.corners is not None:
                row["segmentation"] = [self.corners[i].ravel().tolist()]
            if self.masks is not None:
                row["segmentation"] = as_rle(self.masks[i])
                row["area"] = float(coco.area(row["segmentation"]))
            rows.append(row)
        return rows

    def to_supervision(self, name_of: Callable[[int], str]) -> "supervision.Detections":
        """Return the regions as `supervision.Detections`; see `Prediction.to_supervision`."""
        sv = import_supervision()
        data: dict[str, Any] = {"class_name": np.array([name_of(k) for k in self.labels.tolist()], dtype=str)}
        if self.corners is not None:
            data[sv.config.ORIENTED_BOX_COORDINATES] = self.corners
        return sv.Detections(xyxy=self.boxes, mask=self.masks, confidence=self.scores, class_id=self.labels, data=data)


def regions_of_map(ids: np.ndarray, segments: Sequence[Mapping[str, Any]]) -> Regions:
    """Return the segments of a map that have pixels.

    Args:
        ids: (H, W) integers.
        segments: Dicts of id, category, and optionally score.
    """
    masks = ids == np.array([s["id"] for s in segments], ids.dtype).reshape(-1, 1, 1)  # (N, H, W)
    shown = masks.any(axis=(1, 2))
    labels = np.array([s["category"] for s in segments], np.int64)
    scored = bool(segments) and all("score" in s for s in segments)
    scores = np.array([float(s["score"]) for s in segments], np.float32)[shown] if scored else None
    return Regions(boxes_of(masks[shown]), labels[shown], scores, masks[shown])


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Return the boxes (N, 4) float32 around masks (N, H, W) bool; zeros for empty masks."""
    boxes = np.zeros((len(masks), 4), np.float32)
    shown = masks.any(axis=(1, 2))
    if shown.any():
        boxes[shown] = masks_to_boxes(torch.from_numpy(masks[shown])).numpy() + np.array([0, 0, 1, 1], np.float32)
    return boxes


def import_supervision() -> Any:
    """Return the package supervision.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise ConfigError("this needs the package supervision: pip install supervision") from error
    return supervision
