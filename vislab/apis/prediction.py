"""Prediction: what a model predicts for one image, as NumPy arrays, drawn, and in the formats of other tools."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np
import torch

from vislab.apis.regions import Regions, boxes_of, import_supervision, regions_of_map
from vislab.apis.results import to_plain_results, write_image
from vislab.errors import ConfigError, check_choice, did_you_mean
from vislab.io.download import is_address
from vislab.structures import DataSample
from vislab.structures.rotated_boxes import rboxes_to_corners, rboxes_to_hboxes
from vislab.visualization import Visualizer
from vislab.visualization.draw import mask_arrays

if TYPE_CHECKING:
    import supervision

Kind = Literal["instances", "panoptic", "semantic", "label"]
DRAWN_FROM = 0.3  # score
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_FIELDS = {  # attribute: field of the DataSample, and its part
    "label": ("pred_label", "label"),
    "probabilities": ("pred_label", "score"),
    "boxes": ("pred_instances", None),
    "rotated_boxes": ("pred_instances", "rbboxes"),
    "corners": ("pred_instances", "rbboxes"),
    "masks": ("pred_instances", "masks"),
    "labels": ("pred_instances", "labels"),
    "scores": ("pred_instances", "scores"),
    "semantic": ("pred_sem_seg", None),
    "panoptic": ("pred_panoptic", None),
    "depth": ("pred_depth", None),
    "reconstruction": ("pred_image", None),
}


class ClassScore(NamedTuple):
    """A class with its probability."""

    label: int
    name: str
    score: float


class Prediction:
    """The prediction for one image, in the pixels of this image.

    What the model does not predict raises AttributeError, which names what it does; `fields` lists it, and `hasattr`
    tells. Arrays are copies or views of `sample`.

    Attributes:
        sample (DataSample): The DataSample, with tensors on the CPU.
        image (np.ndarray): The image, (H, W, 3) uint8 RGB.
        path (str): Path or URL of the image, "PATH/00012" for frame 12 of a video, "image 0" for an array.
        frame (int | None): Number of the frame of a video; else None.
        time (float | None): Time of the frame of a video in seconds; else None.
        classes (tuple[str, ...]): Names of all classes; empty if unknown.
        metainfo (dict): What else is known of the data: palette, category_ids.
    """

    def __init__(
        self,
        sample: DataSample,
        image: np.ndarray,
        *,
        path: str = "image",
        metainfo: Mapping[str, Any] | None = None,
        frame: int | None = None,
        time: float | None = None,
        threshold: float | None = None,
    ) -> None:
        self.sample: DataSample = sample.cpu()
        self.image, self.path, self.frame, self.time = image, path, frame, time
        self.metainfo = dict(metainfo or {})
        self.classes: tuple[str, ...] = tuple(map(str, self.metainfo.get("classes") or ()))
        self._threshold = DRAWN_FROM if threshold is None else threshold

    # ---------------------------------------------------------------------------------------------------- NumPy views

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the arrays that the model predicts."""
        return tuple(name for name in _FIELDS if self._has(name))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32, x1, y1, x2, y2; for rotated boxes, and masks without boxes, the upright boxes around them."""
        found = self._find("boxes")
        if "bboxes" in found:
            return _array(found.bboxes, np.float32).reshape(-1, 4)
        return rboxes_to_hboxes(self.rotated_boxes) if "rbboxes" in found else boxes_of(self.masks)

    @property
    def rotated_boxes(self) -> np.ndarray:
        """(N, 5) float32, cx, cy, w, h, and the angle in radians, clockwise, in [-pi/2, pi/2)."""
        return _array(self._find("rotated_boxes"), np.float32).reshape(-1, 5)

    @property
    def corners(self) -> np.ndarray:
        """(N, 4, 2) float32, corners x, y of the rotated boxes, clockwise."""
        return rboxes_to_corners(_array(self._find("corners"), np.float32).reshape(-1, 5))

    @property
    def masks(self) -> np.ndarray:
        """(N, H, W) bool, mask of each object."""
        masks = self._find("masks")
        return mask_arrays(masks).astype(bool) if len(masks) else np.zeros((0, *self.size), bool)

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32, confidence of each object in [0, 1]."""
        return _array(self._find("scores"), np.float32)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64, class index of each object."""
        return _array(self._find("labels"), np.int64)

    @property
    def names(self) -> list[str]:
        """Class name of each object."""
        return [self.name_of(label) for label in self.labels.tolist()]

    @property
    def semantic(self) -> np.ndarray:
        """(H, W) int64, class index of each pixel; 255 = none."""
        return _array(self._find("semantic").data[0], np.int64)

    @property
    def panoptic(self) -> np.ndarray:
        """(H, W) int64, id of the segment of each pixel; 0 = none."""
        return _array(self._find("panoptic").data[0], np.int64)

    @property
    def segments(self) -> list[dict[str, Any]]:
        """The segments of `panoptic`: dicts of id, category, name, and what else the model states."""
        found = self._find("panoptic").get("segments_info", [])
        return [{**segment, "name": self.name_of(segment["category"])} for segment in found]

    @property
    def depth(self) -> np.ndarray:
        """(H, W) float32, meters; 0 = unknown."""
        return _array(self._find("depth").data[0], np.float32)

    @property
    def probabilities(self) -> np.ndarray:
        """(C,) float32, probability of each class for the whole image."""
        return _array(self._find("probabilities"), np.float32).ravel()

    @property
    def label(self) -> int:
        """Class index of the whole image."""
        return int(_array(self._find("label"), np.int64).ravel()[0])

    @property
    def name(self) -> str:
        """Class name of the whole image."""
        return self.name_of(self.label)

    @property
    def reconstruction(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, the image as the model decodes it."""
        pixels = _array(self._find("reconstruction"), np.float32).transpose(1, 2, 0)  # (H, W, 3)
        return (pixels * 255).round().clip(0, 255).astype(np.uint8)

    def top(self, count: int = 5) -> list[ClassScore]:
        """Return the most probable classes of the whole image, best first."""
        scores = self.probabilities
        best = np.argsort(-scores, kind="stable")[:count]
        return [ClassScore(int(k), self.name_of(k), float(scores[k])) for k in best]

    def name_of(self, label: int) -> str:
        """Return the name of a class; its index if the names are unknown."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(int(label))

    def filter(self, threshold: float | None = None, classes: Sequence[str | int] | None = None) -> "Prediction":
        """Return the prediction with only the objects of at least this score and of these classes.

        Raises:
            ConfigError: There is no such class, or the model predicts no objects.
        """
        if not self._has("boxes"):
            raise ConfigError(f"threshold and classes choose among objects; the model predicts {self._list()}")
        objects = self.sample.pred_instances
        keep = np.ones(len(objects), bool)
        if threshold is not None:
            keep &= self.scores >= threshold
        if classes is not None:
            keep &= np.isin(self.labels, class_indices(classes, self.classes))
        sample = self.sample.new()
        sample.pred_instances = objects[torch.from_numpy(np.flatnonzero(keep))]
        return Prediction(
            sample,
            self.image,
            path=self.path,
            metainfo=self.metainfo,
            frame=self.frame,
            time=self.time,
            threshold=self._threshold if threshold is None else threshold,
        )

    # ------------------------------------------------------------------------------------------ pictures, other formats

    def plot(self, *, threshold: float | None = None, max_objects: int = 100) -> np.ndarray:
        """Return the image with the prediction drawn on it, uint8 RGB; several kinds are drawn side by side.

        Args:
            threshold: Lowest score of the objects to draw. Default: that of the predictor, else 0.3.
            max_objects: Largest number of objects to draw.
        """
        lowest = self._threshold if threshold is None else threshold
        visualizer = Visualizer(score_thr=lowest, max_instances=max_objects)
        visualizer.dataset_meta = self.metainfo
        return visualizer.draw_datasample(self.image, self.sample, draw_gt=False)

    def save(self, out: str | Path = "results", *, threshold: float | None = None, max_objects: int = 100) -> Path:
        """Write the picture of `plot`, and return its path.

        Args:
            out: Path of an image file, or a folder, in which the file has the name of the image, with .png; arrays are
                called "image 0", unless names were passed. A file of this name is replaced.
            threshold, max_objects: As in `plot`.

        Raises:
            ConfigError: The file is the image itself.
            DataError: The file cannot be written.
        """
        out = Path(out)
        target = out if out.suffix.lower() in _PICTURES else out / f"{self._stem()}.png"
        if target.exists() and Path(self.path).exists() and target.samefile(self.path):
            raise ConfigError(f"the picture would overwrite its image {self.path}: choose another file or folder")
        drawn = self.plot(threshold=threshold, max_objects=max_objects)
        write_image(drawn[..., ::-1], target.parent, target.name)
        return target

    def to_dict(self) -> dict[str, Any]:
        """Return the prediction as Python objects for JSON: without maps, masks as COCO's RLE."""
        return to_plain_results(self.sample, None, self._stem(), self.classes or None)

    def to_coco(
        self, image_id: int | str | None = None, *, kind: Kind | None = None, category_ids: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        """Return the objects or segments in COCO's format of results, as `COCO.loadRes` of pycocotools reads it.

        Args:
            image_id: Id of the image. Default: the file name without suffix.
            kind: "instances", "panoptic" or "semantic". Default: the first of them that the model predicts.
            category_ids: Id of each class. Default: those of the training data if known, else the class index, which is
                not the id in the files of COCO.

        Raises:
            ConfigError: The model predicts nothing of this kind.
        """
        ids = category_ids or self.metainfo.get("category_ids")
        name = self._stem() if image_id is None else image_id
        return self._regions(kind).to_coco(name, classes=self.classes, category_ids=ids)

    def to_supervision(self, kind: Kind | None = None) -> "supervision.Detections | supervision.Classifications":
        """Return `supervision.Detections`, or `supervision.Classifications` for the class of the whole image.

        Names are in `data["class_name"]`, corners of rotated boxes in `data["xyxyxyxy"]`, where supervision's
        annotators find them.

        Args:
            kind: As in `to_coco`, or "label". Default: the first that the model predicts.

        Raises:
            ConfigError: supervision is not installed, or the model predicts nothing of this kind.
        """
        if kind == "label" or (kind is None and self._has("label") and not self._has("boxes")):
            scores = self.probabilities
            return import_supervision().Classifications(class_id=np.arange(len(scores)), confidence=scores)
        return self._regions(kind).to_supervision(self.name_of)

    def summary(self) -> str:
        """Return what was found in one line, such as "2 person, 1 dog"; of the objects, those that `plot` draws."""
        parts = []
        if self._has("label"):
            scored = self._has("probabilities")
            parts.append(", ".join(f"{name} {score:.2f}" for _, name, score in self.top()) if scored else self.name)
        if self._has("boxes"):
            drawn = self.scores >= self._threshold if self._has("scores") else np.ones(len(self.boxes), bool)
            labels = self.labels[drawn].tolist() if self._has("labels") else []
            parts.append(self._counted(labels, int(drawn.sum()), "objects"))
        if self._has("panoptic"):
            segments = [segment["category"] for segment in self.segments]
            parts.append(self._counted(segments, len(segments), "segments"))
        if self._has("semantic"):
            labels, pixels = np.unique(self.semantic, return_counts=True)
            order = np.argsort(-pixels, kind="stable")[:4]
            parts.append(", ".join(f"{self.name_of(labels[i])} {pixels[i] / pixels.sum():.0%}" for i in order))
        if self._has("depth"):
            depth = self.depth
            known = depth[np.isfinite(depth) & (depth > 0)]
            parts.append(f"depth {known.min():.2f} to {known.max():.2f} m" if known.size else "no known depth")
        if self._has("reconstruction"):
            parts.append("reconstruction")
        return "; ".join(parts) or "nothing"

    def __repr__(self) -> str:
        return f"Prediction({self.path}, {self.size[0]}x{self.size[1]}: {self.summary()})"

    def _has(self, name: str) -> bool:
        field, part = _FIELDS[name]
        return field in self.sample and (part is None or part in self.sample.get(field))

    def _find(self, name: str) -> Any:
        """Return the tensor or field of an attribute.

        Raises:
            AttributeError: The model does not predict it.
        """
        if not self._has(name):
            raise AttributeError(f"the model does not predict {name!r}; it predicts {self._list()}")
        field, part = _FIELDS[name]
        return self.sample.get(field) if part is None else self.sample.get(field).get(part)

    def _list(self) -> str:
        return ", ".join(self.fields) or "nothing"

    def _stem(self) -> str:
        """Return the name of result files: that of the image without folders and suffix."""
        if self.frame is not None:
            return f"{Path(self.path).parent.stem}_{self.frame:05d}"
        return Path(unquote(urlsplit(self.path).path) if is_address(self.path) else self.path).stem or "image"

    def _counted(self, labels: Sequence[int], total: int, what: str) -> str:
        counts = Counter(labels).most_common()
        shown = ", ".join(f"{count} {self.name_of(label)}" for label, count in counts[:6])
        more = f", {sum(count for _, count in counts[6:])} of {len(counts) - 6} other classes" if counts[6:] else ""
        return f"{shown}{more}" if labels else f"{total or 'no'} {what}"

    def _regions(self, kind: Kind | None) -> Regions:
        """Return the objects or segments.

        Raises:
            ConfigError: There are none of this kind.
        """
        check_choice("kind", kind, (None, "instances", "panoptic", "semantic"))
        parts = {"instances": "boxes", "panoptic": "panoptic", "semantic": "semantic"}
        kinds = [name for name, part in parts.items() if kind in (None, name) and self._has(part)]
        if not kinds:
            raise ConfigError(f"there are no {kind or 'objects or segments'} here; the model predicts {self._list()}")
        if kinds[0] == "panoptic":
            return regions_of_map(self.panoptic, self.segments)
        if kinds[0] == "semantic":
            labels = [k for k in np.unique(self.semantic).tolist() if k != 255]
            return regions_of_map(self.semantic, [{"id": k, "category": k} for k in labels])
        return Regions(
            self.boxes,
            self.labels if self._has("labels") else np.zeros(len(self.boxes), np.int64),
            *(getattr(self, name) if self._has(name) else None for name in ("scores", "masks", "corners")),
        )


def class_indices(wanted: Sequence[str | int], classes: Sequence[str]) -> list[int]:
    """Return the indices of classes given by name or index.

    Raises:
        ConfigError: There is no such class.
    """
    if isinstance(wanted, (str, int)):
        raise ConfigError(f"classes={wanted!r}: expected a list of names, such as [{wanted!r}]")
    found = []
    for name in wanted:
        if isinstance(name, str) and name in classes:
            found.append(classes.index(name))
        elif not isinstance(name, str) and int(name) >= 0 and (not classes or name < len(classes)):
            found.append(int(name))
        else:
            known = f"one of {len(classes)}" if classes else "known: the names are unknown, so pass indices"
            raise ConfigError(f"the class {name!r} is not {known}{did_you_mean(str(name), classes)}")
    return found


def _array(value: Any, dtype: type) -> np.ndarray:
    if torch.is_tensor(value):
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    return np.asarray(value).astype(dtype, copy=False)
