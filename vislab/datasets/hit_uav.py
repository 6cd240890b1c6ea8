"""HIT-UAV: thermal aerial images of 640x512 with rotated boxes in a COCO-like JSON file."""

import os
from collections.abc import Mapping

from typing_extensions import Unpack

from vislab.datasets import coco_entries
from vislab.datasets.object_boxes import Entry, Problems, check_angle, read_numbers
from vislab.datasets.oriented import AnnotatedImage, OrientedArguments, OrientedDataset
from vislab.datasets.pairs import require_files
from vislab.errors import DataError
from vislab.registry import DATASETS

CLASSES = ("Person", "Car", "Bicycle", "OtherVehicle")


@DATASETS.register_module()
class HITUAV(OrientedDataset):
    """HIT-UAV with rotated boxes: 2,898 thermal images from drones, persons, cars, bicycles and other vehicles.

    Annotations have `bbox` (cx, cy, w, h, theta in radians) and image entries the file name as `filename`. Regions of
    the category DontCare become ignored instances of each class. Other rotated sets in this format can be read with
    `classes`.

    Args:
        data_root: Folder of the dataset; may contain `$VISLAB_DATA`.
        ann_file: JSON file relative to data_root, such as annotations/train.json.
        data_prefix: Folder of the images relative to data_root, as `img`.
        dont_care: Category of regions that are ignored for all classes.
        common: classes, label_share, label_seed, difficult, filter_empty, pipeline, metainfo, indices, test_mode and
            lazy_init; see OrientedDataset.
    """

    METAINFO = {"classes": CLASSES}

    def __init__(
        self,
        *,
        data_root: str,
        ann_file: str,
        data_prefix: Mapping[str, str] | None = None,
        dont_care: str = "DontCare",
        **common: Unpack[OrientedArguments],
    ) -> None:
        self.dont_care = dont_care
        super().__init__(data_root=data_root, ann_file=ann_file, data_prefix=data_prefix or {"img": ""}, **common)

    def read_annotations(self, problems: Problems) -> list[AnnotatedImage]:
        content = coco_entries.read_json(self.ann_file, ("images", "categories"))
        images, categories = (coco_entries.objects(content, key, self.ann_file) for key in ("images", "categories"))
        names = {}
        for category in categories:
            place = f"{self.ann_file}: category {category.get('id')!r}"
            number = coco_entries.identifier(category.get("id"), place, "id")
            name = coco_entries.text(category.get("name"), place, "name")
            if number in names or name in names.values():
                raise DataError(f"{place}: two categories share the id or the name {name!r}; both must be unique")
            names[number] = name
        found = {coco_entries.identifier(i.get("id"), f"{self.ann_file}: image", "id"): self._image(i) for i in images}
        if len(found) < len(images):
            raise DataError(f"{self.ann_file}: two images have the same id")
        require_files([image.path for image in found.values()], "images", "data_prefix['img']")
        keys = [key for key in ("annotation", "annotations") if key in content]  # the published files have either
        if len(keys) != 1:
            raise DataError(f"{self.ann_file} has {' and '.join(keys) or 'no annotations'}; expected one of both lists")
        for index, annotation in enumerate(coco_entries.objects(content, keys[0], self.ann_file)):
            place = f"{self.ann_file}: annotation {annotation.get('id', f'{index + 1} of the list')}"
            self._add(annotation, index, found, names, place, problems)
        return list(found.values())

    def _image(self, image: dict) -> AnnotatedImage:
        place = f"{self.ann_file}: image {image.get('id')!r}"
        name = coco_entries.text(image.get("filename", image.get("file_name")), place, "filename")
        height, width = (coco_entries.side(image.get(key), place, key) for key in ("height", "width"))
        size = None if height is None or width is None else (height, width)
        return AnnotatedImage(name, os.path.join(self.data_prefix.get("img", ""), name), size, [])

    def _add(self, annotation: dict, index: int, images: dict, names: dict, place: str, problems: Problems) -> None:
        image = coco_entries.find(images, annotation, "image_id", place, "is not the id of an image in the file")
        category = coco_entries.find(names, annotation, "category_id", place, "is not the id of a category")
        box = annotation.get("bbox")
        if not isinstance(box, list) or len(box) != 5:
            problems.add(f"{place} has bbox {coco_entries.shown(box)}, expected [cx, cy, w, h, theta]")
            return
        numbers = read_numbers(box, place, problems)
        if numbers is None or not check_angle(numbers[4], place, problems):
            return
        everywhere = category == self.dont_care
        difficult = coco_entries.flag(annotation.get("difficult"), place, "difficult")
        ignore = everywhere or self.ignores(bool(difficult))
        number = annotation.get("id", index + 1)
        image.entries.append(Entry(None if everywhere else category, numbers, ignore, place, number))
