"""DIOR and DIOR-R: aerial photographs of 800x800 with horizontal or rotated boxes in XML files, 20 classes."""

import os
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from typing_extensions import Unpack

from vislab.datasets.object_boxes import Entry, Problems, check_angle, read_numbers
from vislab.datasets.oriented import AnnotatedImage, OrientedArguments, OrientedDataset
from vislab.datasets.pairs import read_list
from vislab.errors import ConfigError, DataError, check_choice
from vislab.io.listing import choose_images, list_files
from vislab.registry import DATASETS

CLASSES = (
    *("airplane", "airport", "baseballfield", "basketballcourt", "bridge", "chimney", "Expressway-Service-area"),
    *("Expressway-toll-station", "dam", "golffield", "groundtrackfield", "harbor", "overpass", "ship", "stadium"),
    *("storagetank", "tenniscourt", "trainstation", "vehicle", "windmill"),
)
_FOLDERS = {"oriented": "Annotations/Oriented Bounding Boxes", "horizontal": "Annotations/Horizontal Bounding Boxes"}
_IMAGES = ("JPEGImages-trainval", "JPEGImages-test", "JPEGImages")
_CORNERS = tuple(f"{c}_{side}_{end}" for side, end in (("left", "top"), ("right", "top"), ("right", "bottom"),
                                                       ("left", "bottom")) for c in "xy")  # fmt: skip
_CENTER = ("cx", "cy", "w", "h", "angle")
_DIFFICULT = {"0": False, "1": True, "": False, "false": False, "true": True}
_UPRIGHT = ("xmin", "ymin", "xmax", "ymax")


@DATASETS.register_module()
class DIOR(OrientedDataset):
    """DIOR (horizontal boxes) and DIOR-R (rotated boxes): 5,862 training, 5,863 validation and 11,738 test images.

    Rotated boxes are read in both dialects, the corners `x_left_top .. y_left_bottom` of DIOR-R and the `cx, cy, w, h,
    angle` (radians) of roLabelImg, and horizontal ones as in Pascal VOC. Other sets in this layout can be read with
    `classes`.

    Args:
        data_root: Folder with Annotations/, ImageSets/Main/ and JPEGImages-trainval/, JPEGImages-test/ or JPEGImages/;
            may contain `$VISLAB_DATA`.
        split: List or lists below ImageSets/Main: "train", "val", "test"; "trainval" is both of the first.
        boxes: "oriented" or "horizontal".
        annotations: Folder of the XML files below data_root. Default: that of the published set for `boxes`.
        common: classes, label_share, label_seed, difficult, filter_empty, pipeline, metainfo, indices, test_mode and
            lazy_init; see OrientedDataset.

    Raises:
        DataError: A list, image or XML file is missing, or an XML file is invalid or of neither dialect.
    """

    METAINFO = {"classes": CLASSES}

    def __init__(
        self,
        *,
        data_root: str,
        split: str | Sequence[str] = "trainval",
        boxes: Literal["oriented", "horizontal"] = "oriented",
        annotations: str = "",
        **common: Unpack[OrientedArguments],
    ) -> None:
        check_choice("DIOR: boxes", boxes, _FOLDERS)
        self.split = [split] if not isinstance(split, (list, tuple)) else list(split)
        if not self.split or not all(isinstance(part, str) and part for part in self.split):
            raise ConfigError(f"DIOR: split={split!r}: expected the name of a list, such as 'trainval', or several")
        self.boxes = boxes
        self.annotations = annotations or _FOLDERS[boxes]
        super().__init__(data_root=data_root, **common)

    def read_annotations(self, problems: Problems) -> list[AnnotatedImage]:
        images = self._image_paths()
        result = []
        for name in self._listed():
            path = os.path.join(self.data_root, self.annotations, f"{name}.xml")
            if name not in images:
                problems.add(f"image {name} is listed, but not in {' or '.join(_IMAGES)} of {self.data_root}")
                continue
            if (tree := _parse(path, problems)) is None:
                continue
            size, entries = _read_size(tree), []
            for number, node in enumerate(tree.iter("object"), 1):
                place = f"{path}, object {number}"
                label = (node.findtext("name") or "").strip()
                difficult = (node.findtext("difficult") or "0").strip().lower()
                box = _read_box(node, self.boxes, place, problems)
                if not label:
                    problems.add(f"{place} has no name")
                elif difficult not in _DIFFICULT:
                    problems.add(f"{place}: {difficult!r} is not a difficulty; expected 0 or 1")
                elif box is not None:
                    entries.append(Entry(label, box, self.ignores(_DIFFICULT[difficult]), place, number))
            result.append(AnnotatedImage(name, images[name], size, entries))
        return result

    def _listed(self) -> list[str]:
        """Return the image names of the splits, without repetitions."""
        names: dict[str, None] = {}
        folder = Path(self.data_root, "ImageSets/Main")
        for split in self.split:
            both = split == "trainval" and not (folder / "trainval.txt").is_file()
            for part in ("train", "val") if both else (split,):
                names |= dict.fromkeys(row[0] for row in read_list(folder / f"{part}.txt", ("image",)))
        return list(names)

    def _image_paths(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in _IMAGES:
            folder = Path(self.data_root, name)
            if folder.is_dir():
                for path in choose_images(list_files(folder), folder):
                    other = found.setdefault(Path(path).stem, path)
                    if other != path:
                        raise DataError(f"{other} and {path} are two images with the same name: remove one of them")
        if not found:
            raise DataError(f"DIOR: {self.data_root} has no images in {', '.join(_IMAGES)}: check data_root")
        return found


def _parse(path: str, problems: Problems) -> ET.Element | None:
    try:
        root = ET.parse(path).getroot()
        if root.tag == "annotation":
            return root
        problems.add(f"{path} contains <{root.tag}>; expected <annotation>, as in Pascal VOC, DIOR and roLabelImg")
    except FileNotFoundError:
        problems.add(f"{path} is missing")
    except (OSError, ET.ParseError, ValueError, LookupError) as error:
        problems.add(f"{path} is not a readable XML file: {error}")
    return None


def _read_size(tree: ET.Element) -> tuple[int, int] | None:
    """Return height and width in the file; None if it has none, or zeros as some annotation programs write."""
    try:
        height, width = (int(tree.findtext(f"size/{key}", "0")) for key in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None


def _read_box(node: ET.Element, boxes: str, place: str, problems: Problems) -> tuple[float, ...] | None:
    """Return the box of an object: 4 numbers for "horizontal" boxes, 8 corners or 5 numbers for "oriented" ones."""
    rotated, upright = node.find("robndbox"), node.find("bndbox")
    if boxes == "horizontal":
        if upright is not None:
            return _numbers(upright, _UPRIGHT, place, problems)
        kind = "a rotated box (robndbox)" if rotated is not None else "no bndbox"
        problems.add(f"{place} has {kind}; expected a horizontal one, bndbox with {', '.join(_UPRIGHT)}")
        return None
    if rotated is None:
        kind = "a horizontal box (bndbox): set boxes='horizontal'" if upright is not None else "no robndbox"
        problems.add(f"{place} has {kind}; expected a rotated box")
        return None
    if rotated.find(_CORNERS[0]) is not None:
        return _numbers(rotated, _CORNERS, place, problems)  # <angle> repeats the corners, and less exactly
    if rotated.find("cx") is not None:
        box = _numbers(rotated, _CENTER, place, problems)
        return box if box is not None and check_angle(box[4], place, problems) else None
    tags = ", ".join(child.tag for child in rotated) or "nothing"
    problems.add(
        f"{place}: robndbox contains {tags}; expected the corners x_left_top, y_left_top, .., y_left_bottom (DIOR-R), "
        "or cx, cy, w, h, angle (roLabelImg)"
    )
    return None


def _numbers(node: ET.Element, keys: Sequence[str], place: str, problems: Problems) -> tuple[float, ...] | None:
    texts = [node.findtext(key) for key in keys]
    if None in texts:
        problems.add(f"{place}: {node.tag} has no {keys[texts.index(None)]}; expected {', '.join(keys)}")
        return None
    return read_numbers([text.strip() for text in texts], place, problems)
