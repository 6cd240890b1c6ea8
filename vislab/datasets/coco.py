"""Datasets with COCO annotation files, for instances (boxes, masks) or panoptic segmentation (id maps)."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from mmengine.logging import print_log

from vislab.datasets import coco_entries as entries
from vislab.datasets.base import BaseDataset
from vislab.datasets.class_list import checked_names, class_index, warn_absent_classes
from vislab.datasets.pairs import require_files
from vislab.datasets.transforms.loading import refuse_many_classes
from vislab.errors import DataError, did_you_mean
from vislab.registry import DATASETS


@DATASETS.register_module()
class CocoDataset(BaseDataset):
    """Images with annotations in COCO's instance or panoptic format; the classes come from the file.

    Records of an instances file have img_id, img_path, height and width if the file has them, and instances: dicts of
    bbox (xyxy), label, mask (RLE or polygons), ignore (1 for crowds), area (of the file, or None) and id (of the
    annotation). Records of a panoptic file have panoptic_path and segments_info, dicts of id, category (class index),
    iscrowd and area, and instances if `instances_file` is set. The type of file is detected from its content.

    Class indices are contiguous: things first, then stuff, each sorted by category id. Metainfo: classes,
    thing_classes, stuff_classes, category_ids (class index to category id) and, if the file has colors, palette.

    The annotations are checked when the dataset is built; no image is read. LoadImage compares height and width with
    the image; LoadAnnotations clips boxes at the image border and decodes masks.

    Args:
        data_root: Folder of the dataset; may contain `$VISLAB_DATA`.
        ann_file: Annotation file, relative to data_root.
        data_prefix: Folders relative to data_root: `img`, and `panoptic` for the PNG files.
        instances_file: For a panoptic `ann_file`: an instances file of the same images, whose classes are a subset.
        classes: Names of the classes to use, in label order; annotations of other classes are skipped. Default: all.
        filter_empty: Skip images without annotations (crowds do not count).
        check_files: Check that all images and PNG files exist.
        pipeline: Transforms.
        metainfo: Additional metainfo. Labels are indices into `classes`: set it if the file lacks a category or has
            them in another order. Annotations of a category that is not in the list are an error.
        indices: Use the first n images, or those with these indices.
        test_mode: See BaseDataset.
        lazy_init: Do not read the annotations yet.

    Raises:
        DataError: A file is missing, malformed or inconsistent: an unknown image or category, a duplicate segment, a
            box that is not four numbers or lies far outside the image.
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
        self.classes = None if classes is None else checked_names(classes, "CocoDataset: classes")
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
        content = entries.read_json(self.ann_file, ("images", "categories"))
        images, categories, annotations = (
            entries.objects(content, key, self.ann_file) for key in ("images", "categories", "annotations")
        )
        labels = self._number(self._read_categories(categories))
        records = self._read_images(images)
        if annotations and "segments_info" in annotations[0]:
            self._add_segments(records, annotations, labels)
            if self.instances_file:
                by_name = {str(c["name"]): labels[entries.identifier(c["id"], "", "id")] for c in categories}
                self._add_instances_file(records, labels, by_name)
        elif "annotations" in content:
            if self.instances_file:
                raise DataError(f"{self.ann_file} is an instances file; instances_file is for a panoptic ann_file")
            self._add_instances(records, annotations, labels, self.ann_file)
        self._refuse_unlisted(records)
        if self.check_files:
            require_files([r["img_path"] for r in records.values()], "images", "data_prefix['img']")
            maps = [r["panoptic_path"] for r in records.values() if "panoptic_path" in r]
            require_files(maps, "panoptic maps", "data_prefix['panoptic']")
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

    def _read_categories(self, categories: list[dict]) -> dict[int | str, int | None]:
        """Return the class index by category id, None for classes that are not used; sets metainfo."""
        read = []
        for category in categories:
            if "id" not in category or "name" not in category:
                raise DataError(f"{self.ann_file}: category {category} lacks id or name")
            place = f"{self.ann_file}: category {category['id']!r}"
            isthing = category.get("isthing")
            read.append(
                {
                    "id": entries.identifier(category["id"], place, "id"),
                    "name": entries.text(category["name"], place, "name"),
                    "isthing": 1 if isthing is None else entries.flag(isthing, place, "isthing"),
                    "color": category.get("color"),
                }
            )
        # ids that are not numbers come last, in alphabetical order
        ordered = sorted(read, key=lambda c: (not c["isthing"], isinstance(c["id"], str), c["id"]))
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
            "thing_classes": tuple(c["name"] for c in ordered if c["isthing"]),
            "stuff_classes": tuple(c["name"] for c in ordered if not c["isthing"]),
            "category_ids": tuple(c["id"] for c in ordered),
        }
        palette = entries.palette(ordered, self.ann_file)
        if palette:
            self._metainfo["palette"] = palette
        labels: dict[int | str, int | None] = {c["id"]: None for c in read}
        return labels | {c["id"]: i for i, c in enumerate(ordered)}

    def _number(self, labels: dict[int | str, int | None]) -> dict[int | str, int | None]:
        """Map category ids to indices into the user's class list, if there is one, and update metainfo.

        Categories that are not in the list get indices beyond its end: they are an error only if an annotation uses
            them.
        """
        given = self.given_classes
        own = self._metainfo["classes"]  # of the file
        self._unlisted: list[str] = []
        if given is None or given == own:
            return labels
        things, stuff = (self._metainfo[f"{kind}_classes"] for kind in ("thing", "stuff"))
        ids = dict(zip(own, self._metainfo["category_ids"], strict=True))
        colors = dict(zip(own, self._metainfo.pop("palette", ()), strict=False))
        self._unlisted = [name for name in own if name not in given]
        self._metainfo |= {
            "classes": given,
            "thing_classes": tuple(name for name in given if name in things or name not in own),
            "stuff_classes": tuple(name for name in given if name in stuff),
            "category_ids": tuple(ids.get(name) for name in given),
        }
        if all(name in colors for name in given):
            self._metainfo["palette"] = tuple(colors[name] for name in given)
        warn_absent_classes(given, own, self.ann_file)
        place = {name: i for i, name in enumerate((*given, *self._unlisted))}
        return {number: None if k is None else place[own[k]] for number, k in labels.items()}

    def _refuse_unlisted(self, records: dict) -> None:
        if not self._unlisted:
            return
        for record in records.values():
            labels = [i["label"] for i in record.get("instances", ())]
            labels += [s["category"] for s in record.get("segments_info", ()) if s["category"] != 255]
            for label in labels:
                if label >= len(self.given_classes):
                    class_index(self._unlisted[label - len(self.given_classes)], self.given_classes, self.ann_file)

    def _read_images(self, images: list[dict]) -> dict[int | str, dict]:
        folder = self.data_prefix.get("img", "")
        records, paths = {}, set()
        for image in images:
            name = image.get("file_name", image.get("filename"))
            if name is None or "id" not in image:
                raise DataError(f"{self.ann_file}: image entry {image} lacks id or file_name")
            place = f"{self.ann_file}: image {image['id']!r}"
            number = entries.identifier(image["id"], place, "id")
            if number in records:
                raise DataError(f"{self.ann_file}: image id {image['id']} occurs twice")
            record = {"img_id": image["id"], "img_path": os.path.join(folder, entries.text(name, place, "file_name"))}
            for key in ("height", "width"):
                pixels = entries.side(image.get(key), place, key)
                if pixels is not None:
                    record[key] = pixels
            records[number] = record
            paths.add(record["img_path"])
        if len(paths) < len(records):
            self._warn(
                f"{self.ann_file}: {len(records)} image entries refer to only {len(paths)} files; each entry is read "
                "with its own annotations only"
            )
        return records

    def _add_instances_file(self, records: dict, labels: dict, by_name: dict[str, int | None]) -> None:
        """Add the instances of a second file. Categories are matched by name, else by id; images are matched by id."""
        path = os.path.join(self.data_root, self.instances_file)
        content = entries.read_json(path, ("annotations",))
        own = {}
        for category in entries.objects(content, "categories", path):
            # names are more reliable than ids: some files number the thing classes only
            if isinstance(category.get("name"), str) and category["name"] in by_name:
                own[entries.identifier(category.get("id"), f"{path}: category", "id")] = by_name[category["name"]]
        for image in entries.objects(content, "images", path):
            place = f"{path}: image {image.get('id')!r}"
            record = records.get(entries.identifier(image.get("id"), place, "id"), {})
            for key in ("height", "width"):
                pixels = entries.side(image.get(key), place, key)
                if pixels is not None and pixels != record.setdefault(key, pixels):
                    raise DataError(
                        f"{place} has {key} {pixels}, {self.ann_file} has {record[key]}: different versions?"
                    )
        self._add_instances(records, entries.objects(content, "annotations", path), labels | own, path)

    def _add_instances(self, records: dict, annotations: list[dict], labels: dict, path: str) -> None:
        for record in records.values():
            record["instances"] = []
        boxes, sides, names, flat = [], [], [], []
        for index, annotation in enumerate(annotations):
            place = f"{path}: annotation {annotation.get('id', f'{index + 1} of the list')}"
            record = _image_of(annotation, records, place)
            label = _label_of(annotation, labels, place)
            bbox = annotation.get("bbox")
            if not entries.is_box(bbox):
                raise DataError(f"{place} has bbox {entries.shown(bbox)}, expected [x, y, width, height] in pixels")
            mask = entries.segmentation(annotation.get("segmentation"), place)
            crowd = entries.flag(annotation.get("iscrowd"), place, "iscrowd")
            if label is None:
                continue
            x, y, w, h = bbox
            if w <= 0 or h <= 0:
                flat.append(f"{annotation.get('id', index + 1)}: {bbox}")
                continue
            number = annotation.get("id", index + 1)
            record["instances"].append(
                {
                    "bbox": [x, y, x + w, y + h],
                    "label": label,
                    "mask": mask,
                    "ignore": crowd,
                    "area": entries.area(annotation.get("area"), place),
                    "id": number,
                }
            )
            boxes.append(bbox)
            sides.append((record.get("width"), record.get("height")))
            names.append(number)
        if flat:
            self._warn(
                f"{path}: {len(flat)} of {len(annotations)} boxes have no area (width or height <= 0) and are "
                f"skipped, the first is that of annotation {flat[0]}"
            )
        entries.check_boxes(boxes, sides, names, path)

    def _add_segments(self, records: dict, annotations: list[dict], labels: dict) -> None:
        count = max(len(self._metainfo["classes"]), sum(label is not None for label in labels.values()))
        refuse_many_classes(count, self.ann_file)
        folder = self.data_prefix.get("panoptic", "")
        for annotation in annotations:
            place = f"{self.ann_file}: annotation of image {annotation.get('image_id', '?')}"
            record = _image_of(annotation, records, place)
            if "file_name" not in annotation or "segments_info" not in annotation:
                raise DataError(f"{place} lacks file_name or segments_info: all entries of a panoptic file need both")
            if "segments_info" in record:
                raise DataError(f"{place}: the image is annotated twice")
            segments, seen = [], set()
            for segment in entries.objects(annotation, "segments_info", place):
                number = segment.get("id")
                if type(number) is not int or not 0 < number < 1 << 24:
                    raise DataError(f"{place}: segment id {number!r} is not an integer in 1..{(1 << 24) - 1}")
                if number in seen:
                    raise DataError(f"{place}: segment id {number} occurs twice")
                seen.add(number)
                name = f"{place}, segment {number}"
                label = _label_of(segment, labels, name)
                # segments of unused classes are kept: their pixels are ignored, not background
                segments.append(
                    {
                        "id": number,
                        "category": 255 if label is None else label,
                        "iscrowd": entries.flag(segment.get("iscrowd"), name, "iscrowd"),
                        "area": int(entries.area(segment.get("area"), name) or 0),
                    }
                )
            record["panoptic_path"] = os.path.join(folder, entries.text(annotation["file_name"], place, "file_name"))
            record["segments_info"] = segments

    @staticmethod
    def _warn(text: str) -> None:
        print_log(text, logger="current", level=logging.WARNING)


def _image_of(annotation: dict, records: dict, place: str) -> dict:
    return entries.find(records, annotation, "image_id", place, "is not the id of an image in the file")


def _label_of(annotation: dict, labels: dict, place: str) -> int | None:
    what = f"is not among the file's {len(labels)} categories"
    return entries.find(labels, annotation, "category_id", place, what)
