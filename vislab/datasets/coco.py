"""COCO's annotation files: instances (boxes, masks) and panoptic (id maps), told apart by their content."""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from mmengine.logging import print_log

from vislab.datasets.base import BaseDataset
from vislab.datasets.transforms.loading import refuse_many_classes
from vislab.errors import DataError, did_you_mean
from vislab.registry import DATASETS


@DATASETS.register_module()
class CocoDataset(BaseDataset):
    """Images with COCO annotations. Any data in that format will do; the classes come from the file.

    From an instances file a record holds img_id, img_path, height, width and instances: dicts of bbox (xyxy), label,
    mask (run lengths or polygons), ignore (1 for crowds), area (as the file states it, or None). From a panoptic file
    it holds panoptic_path and segments_info: dicts of id, category (class index), iscrowd, area; instances too, if
    `instances_file` is given.

    Class indices are contiguous: things first, then stuff, each by category id. metainfo: classes, thing_classes,
    stuff_classes, category_ids (class index to the file's id) and, where the file has colours, palette.

    Everything is checked once, here; no pixel is read.

    Args:
        data_root: Folder of the dataset; may hold `$VISLAB_DATA`.
        ann_file: Annotation file, relative to data_root.
        data_prefix: Folders relative to data_root: `img`, and `panoptic` for the PNG files.
        instances_file: For a panoptic `ann_file`: an instances file of the same images, whose classes are among its
            own.
        classes: Names of the classes to use, in label order; annotations of others are left out. None takes all.
        filter_empty: Leave out images without a single usable annotation (crowds do not count).
        check_files: Look whether every image and PNG is there.
        pipeline: Transforms.
        metainfo: Further entries of metainfo.
        indices: Use the first n images, or those with these indices.
        test_mode: See BaseDataset.
        lazy_init: Do not read the annotations yet.

    Raises:
        DataError: a file is missing or malformed, or contradicts itself: an unknown image or category, a segment listed
            twice, a box that is not four numbers.
    """

    path_arguments: ClassVar[tuple[str, ...]] = ("instances_file",)

    def __init__(
        self,
        *,
        data_root: str = "",
        ann_file: str,
        data_prefix: Mapping[str, str] | None = None,
        instances_file: str = "",
        classes: Sequence[str] | None = None,
        filter_empty: bool = False,
        check_files: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        metainfo: dict[str, Any] | None = None,
        indices: int | Sequence[int] | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        self.instances_file = instances_file
        self.classes = None if classes is None else list(classes)
        self.filter_empty = filter_empty
        self.check_files = check_files
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            data_prefix=data_prefix or {"img": ""},
            pipeline=pipeline,
            metainfo=metainfo,
            indices=indices,
            test_mode=test_mode,
            lazy_init=lazy_init,
        )

    def load_data_list(self) -> list[dict]:
        content = _read(self.ann_file, ("images", "categories"))
        labels = self._read_categories(content["categories"])
        records = self._read_images(content["images"])
        annotations = content.get("annotations", [])
        if annotations and "segments_info" in annotations[0]:
            self._add_segments(records, annotations, labels)
            if self.instances_file:
                path = os.path.join(self.data_root, self.instances_file)
                self._add_instances(records, _read(path, ("annotations",))["annotations"], labels, path)
        elif "annotations" in content:
            if self.instances_file:
                raise DataError(f"{self.ann_file} is an instances file itself: instances_file goes with a panoptic one")
            self._add_instances(records, annotations, labels, self.ann_file)
        if self.check_files:
            _require_files([r["img_path"] for r in records.values()], "images", "data_prefix['img']")
            maps = [r["panoptic_path"] for r in records.values() if "panoptic_path" in r]
            _require_files(maps, "panoptic maps", "data_prefix['panoptic']")
        return list(records.values())

    def filter_data(self) -> list[dict]:
        if not self.filter_empty:
            return self.data_list
        return [
            record
            for record in self.data_list
            if any(not i["ignore"] for i in record.get("instances", ()))
            or any(not s["iscrowd"] and s["category"] != 255 for s in record.get("segments_info", ()))
        ]

    def _read_categories(self, categories: list[dict]) -> dict[int, int | None]:
        """Category id to class index, None for classes that are not wanted; fills metainfo."""
        for category in categories:
            if "id" not in category or "name" not in category:
                raise DataError(f"{self.ann_file}: category {category} lacks id or name")
        ordered = sorted(categories, key=lambda c: (not c.get("isthing", 1), c["id"]))
        names = [c["name"] for c in ordered]
        if len(set(names)) < len(names) or len({c["id"] for c in ordered}) < len(ordered):
            raise DataError(f"{self.ann_file}: two categories share an id or a name; both must be unique")
        if self.classes is not None:
            for name in self.classes:
                if name not in names:
                    hint = did_you_mean(str(name), names)
                    raise DataError(f"classes: {name!r} is not a category of {self.ann_file}{hint}")
            ordered = [ordered[names.index(name)] for name in self.classes]
        self._metainfo |= {
            "classes": tuple(c["name"] for c in ordered),
            "thing_classes": tuple(c["name"] for c in ordered if c.get("isthing", 1)),
            "stuff_classes": tuple(c["name"] for c in ordered if not c.get("isthing", 1)),
            "category_ids": tuple(c["id"] for c in ordered),
        }
        if ordered and all("color" in c for c in ordered):
            self._metainfo["palette"] = tuple(tuple(c["color"]) for c in ordered)
        labels: dict[int, int | None] = {c["id"]: None for c in categories}
        return labels | {c["id"]: i for i, c in enumerate(ordered)}

    def _read_images(self, images: list[dict]) -> dict[int, dict]:
        folder = self.data_prefix.get("img", "")
        records = {}
        for image in images:
            name = image.get("file_name", image.get("filename"))
            if name is None or "id" not in image:
                raise DataError(f"{self.ann_file}: image entry {image} lacks id or file_name")
            if image["id"] in records:
                raise DataError(f"{self.ann_file}: image id {image['id']} occurs twice")
            record = {"img_id": image["id"], "img_path": os.path.join(folder, name)}
            if "height" in image and "width" in image:
                record |= {"height": image["height"], "width": image["width"]}
            records[image["id"]] = record
        return records

    def _add_instances(self, records: dict, annotations: list[dict], labels: dict, path: str) -> None:
        for record in records.values():
            record["instances"] = []
        flat = 0
        for annotation in annotations:
            place = f"{path}: annotation {annotation.get('id', '?')}"
            record = _image_of(annotation, records, place)
            label = _label_of(annotation, labels, place)
            bbox = annotation.get("bbox")
            if not (isinstance(bbox, list) and len(bbox) == 4 and all(isinstance(v, int | float) for v in bbox)):
                raise DataError(f"{place} has bbox {bbox!r}, expected [x, y, width, height] in pixels")
            mask = annotation.get("segmentation")
            if mask is not None and not (isinstance(mask, list) or (isinstance(mask, dict) and "counts" in mask)):
                raise DataError(f"{place} has segmentation {str(mask)[:60]!r}, expected polygons or run lengths")
            if label is None:
                continue
            box = _corners(bbox, record)
            if box[2] <= box[0] or box[3] <= box[1]:
                flat += 1
                continue
            crowd = int(annotation.get("iscrowd", 0))
            record["instances"].append(
                {"bbox": box, "label": label, "mask": mask or None, "ignore": crowd, "area": _area(annotation)}
            )
        if flat:
            text = f"{path}: {flat} of {len(annotations)} boxes have no area inside their image and are left out"
            print_log(text, logger="current", level=logging.WARNING)

    def _add_segments(self, records: dict, annotations: list[dict], labels: dict) -> None:
        refuse_many_classes(sum(label is not None for label in labels.values()), self.ann_file)
        folder = self.data_prefix.get("panoptic", "")
        for annotation in annotations:
            place = f"{self.ann_file}: annotation of image {annotation.get('image_id', '?')}"
            record = _image_of(annotation, records, place)
            if "file_name" not in annotation or "segments_info" not in annotation:
                raise DataError(f"{place} lacks file_name or segments_info: not every entry of this file is panoptic")
            if "segments_info" in record:
                raise DataError(f"{place}: the image is annotated twice")
            segments, seen = [], set()
            for segment in annotation["segments_info"]:
                number = segment.get("id")
                if not isinstance(number, int) or not 0 < number < 1 << 24:
                    raise DataError(f"{place}: segment id {number!r} is not an integer in 1..{(1 << 24) - 1}")
                if number in seen:
                    raise DataError(f"{place}: segment id {number} occurs twice")
                seen.add(number)
                label = _label_of(segment, labels, f"{place}, segment {number}")
                crowd = int(segment.get("iscrowd", 0))
                # a class that is not wanted stays known as a segment: its pixels are ignored, not background
                segments.append(
                    {
                        "id": number,
                        "category": 255 if label is None else label,
                        "iscrowd": crowd,
                        "area": int(segment.get("area", 0)),
                    }
                )
            record["panoptic_path"] = os.path.join(folder, annotation["file_name"])
            record["segments_info"] = segments


def _read(path: str, keys: Sequence[str]) -> dict:
    try:
        content = json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable JSON file: {error}") from error
    missing = [key for key in keys if not isinstance(content, dict) or not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"{path} is not a COCO annotation file: it has no list {' and no list '.join(missing)}")
    return content


def _image_of(annotation: dict, records: dict, place: str) -> dict:
    try:
        return records[annotation["image_id"]]
    except KeyError:
        raise DataError(
            f"{place} has image_id {annotation.get('image_id')!r}, which no image of the file has"
        ) from None


def _label_of(annotation: dict, labels: dict, place: str) -> int | None:
    try:
        return labels[annotation["category_id"]]
    except KeyError:
        raise DataError(
            f"{place} has category_id {annotation.get('category_id')!r}, which is not among the file's "
            f"{len(labels)} categories"
        ) from None


def _area(annotation: dict) -> float | None:
    """The area that the file states, in square pixels; None where it states none."""
    area = annotation.get("area")
    known = isinstance(area, int | float) and not isinstance(area, bool) and 0 <= area < float("inf")
    return float(area) if known else None


def _corners(bbox: list[float], record: dict) -> list[float]:
    """COCO's x, y, w, h to x1, y1, x2, y2 within the image."""
    x, y, w, h = bbox
    width, height = record.get("width", float("inf")), record.get("height", float("inf"))
    return [max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)]


def _require_files(paths: list[str], what: str, key: str) -> None:
    """Raise when files are missing. One listing a folder: a look at each file of COCO would take minutes on a
    network."""
    wanted = defaultdict(set)
    for path in paths:
        folder, name = os.path.split(path)
        wanted[folder].add(name)
    for folder, names in wanted.items():
        try:
            with os.scandir(folder or ".") as entries:
                names = names - {entry.name for entry in entries}
        except OSError as error:
            raise DataError(
                f"the folder of {what} {folder!r} cannot be read ({error.strerror}): check {key}"
            ) from error
        if names:
            first = os.path.join(folder, min(names))
            raise DataError(f"{len(names)} of {len(paths)} {what} are missing, the first is {first}: check {key}")
