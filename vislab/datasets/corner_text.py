"""Datasets with a text file of four-corner boxes per image: DOTA's format, and corners as fractions (YOLO-OBB)."""

import os
from pathlib import Path

from typing_extensions import Unpack

from vislab.datasets.object_boxes import Entry, Problems, is_number, read_numbers, whole_number
from vislab.datasets.oriented import AnnotatedImage, OrientedArguments, OrientedDataset
from vislab.datasets.pairs import pair_by_pattern
from vislab.io.images import read_size
from vislab.registry import DATASETS

DOTA_CLASSES = (
    *("plane", "baseball-diamond", "bridge", "ground-track-field", "small-vehicle", "large-vehicle", "ship"),
    *("tennis-court", "basketball-court", "storage-tank", "soccer-ball-field", "roundabout", "harbor"),
    *("swimming-pool", "helicopter"),
)
_HEADERS = ("imagesource", "gsd", "acquisition dates")  # "imagesource:GoogleEarth" at the beginning of DOTA's files
_FORMATS = "'x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]' in pixels (DOTA), or 'class x1 y1 .. x4 y4' with fractions"


@DATASETS.register_module()
class CornerText(OrientedDataset):
    """Images with a text file each, one object per line, in one of two formats, which the lines tell apart.

    `x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]`, with corners in pixels and the name of the class, as in DOTA; or `class
    x1 y1 x2 y2 x3 y3 x4 y4`, with the number of the class in `classes` and corners as fractions of width and height
    (YOLO-OBB). Boxes are the minimum-area rectangles around the corners.

    Args:
        data_root: Folder of the dataset; may contain `$VISLAB_DATA`.
        images: Pattern of the images below data_root with one "*" for the name.
        labels: Pattern of the text files with the same wildcard; an image without objects has an empty file. "" for
            images without labels: their records have no instances.
        common: classes, label_share, label_seed, difficult, filter_empty, pipeline, metainfo, indices, test_mode and
            lazy_init; see OrientedDataset.

    Raises:
        DataError: There are no images, an image has no text file, or lines are invalid.
    """

    def __init__(
        self,
        *,
        data_root: str,
        images: str = "images/*.png",
        labels: str = "labelTxt/*.txt",
        **common: Unpack[OrientedArguments],
    ) -> None:
        self.images, self.labels = images, labels
        super().__init__(data_root=data_root, **common)

    def read_annotations(self, problems: Problems) -> list[AnnotatedImage]:
        result = []
        if not self.labels:
            pairs = pair_by_pattern(self.data_root, self.images, self.images)
            return [AnnotatedImage(name, image, None, None) for name, image, _ in pairs]
        for name, image, labels in pair_by_pattern(self.data_root, self.images, self.labels):
            size = read_size(image)
            entries = [self._entry(*line, size, problems) for line in _lines(labels, problems)]
            result.append(AnnotatedImage(name, image, size, [e for e in entries if e is not None]))
        return result

    def _entry(
        self, number: int, place: str, words: list[str], size: tuple[int, int], problems: Problems
    ) -> Entry | None:
        if len(words) == 9 and all(is_number(word) for word in words):
            return self._from_fractions(number, place, words, size, problems)
        if len(words) in (9, 10) and all(is_number(word) for word in words[:8]) and not is_number(words[8]):
            box = read_numbers(words[:8], place, problems)
            difficult = words[9] if len(words) == 10 else "0"
            if box is None:
                return None
            if whole_number(difficult) is None:
                problems.add(f"{place}: {difficult!r} is not a difficulty; expected 0 or 1")
                return None
            return Entry(words[8], box, self.ignores(whole_number(difficult) != 0), place, number)
        shown = " ".join(words)
        problems.add(f"{place}: {shown[:60]!r} has {len(words)} words; expected {_FORMATS}")
        return None

    def _from_fractions(
        self, number: int, place: str, words: list[str], size: tuple[int, int], problems: Problems
    ) -> Entry | None:
        corners = read_numbers(words[1:], place, problems)
        if corners is None:
            return None
        label = whole_number(words[0])
        if label is None or label >= len(self.own_classes):
            problems.add(
                f"{place}: the class number is {words[0][:20]!r}; there are {len(self.own_classes)} classes, 0.."
                f"{len(self.own_classes) - 1}"
            )
            return None
        if not all(-1 <= value <= 2 for value in corners):
            far = next(value for value in corners if not -1 <= value <= 2)
            problems.add(f"{place}: the corner coordinate {far:g} is not a fraction of the image; expected {_FORMATS}")
            return None
        height, width = size
        box = tuple(value * (height if i % 2 else width) for i, value in enumerate(corners))
        return Entry(self.own_classes[label], box, False, place, number)


@DATASETS.register_module()
class DOTA(CornerText):
    """DOTA-v1.0, 15 classes: images, or tiles made by tools/dataset_converters/dota_tiles.py, in one folder per split.

    Args:
        data_root: Folder of a split, with images/ and labelTxt/; may contain `$VISLAB_DATA`.
        images, labels, common: See CornerText.
    """

    METAINFO = {"classes": DOTA_CLASSES}


def _lines(path: str | os.PathLike, problems: Problems) -> list[tuple[int, str, list[str]]]:
    """Return number, place and words of the lines with objects."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        problems.add(f"{path} is not a readable text file: {error}")
        return []
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not line.lower().startswith(_HEADERS):
            lines.append((number, f"{path}, line {number}", words))
    return lines
