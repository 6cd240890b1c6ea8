"""The contents of a folder by task: arguments of the datasets, classes, image size, and what is odd about the files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vislab.apis.new_config.listing import Pairs, image_sizes, pair_files, relative_files, split_files
from vislab.apis.new_config.names import named_classes
from vislab.datasets.coco_entries import read_json
from vislab.datasets.object_boxes import is_number
from vislab.errors import DataError
from vislab.io.listing import is_image

_READ = 2000  # label files that are read at most


class Source(str):
    """An expression in a config."""

    __repr__ = str.__str__


@dataclass
class Survey:
    """Arguments of the training and validation sets, and what the config needs to know about them.

    Attributes:
        train, val: Arguments of the dataset class.
        count: Number of training images.
        classes: Class names; empty for depth.
        size: Median (height, width) of the images.
        notes: What the user should know, one sentence each.
        more: Values of one task: things, label_map, scale, max_depth.
    """

    train: dict[str, Any]
    val: dict[str, Any]
    count: int
    classes: tuple[str, ...]
    size: tuple[int, int]
    notes: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)


def survey_classification(root: Path) -> Survey:
    """Survey `root/{train,val}/CLASS/*.jpg` or `root/CLASS/*.jpg`."""
    files = [path for path in relative_files(root) if is_image(path)]
    first = {path.split("/")[0] for path in files if "/" in path}
    train = next((name for name in sorted(first) if name.lower() in ("train", "training")), None)
    names = ("val", "valid", "validation", "test", "testing")
    val = next((name for wanted in names for name in sorted(first) if name.lower() == wanted), None)
    notes: list[str] = []
    if (train is None) != (val is None):
        raise DataError(f"{root} has the folder {train or val}, but expected both train and val (or test), or neither")
    whole = train is None
    counts = _count_classes(files, "" if whole else f"{train}/")
    if len(counts) < 2:
        raise DataError(
            f"{root} has {len(counts)} class folders with images; expected at least 2: "
            f"{root}/train/CLASS/*.jpg and {root}/val/CLASS/*.jpg, or {root}/CLASS/*.jpg"
        )
    total = sum(counts.values())
    if whole:
        parts = [{"split": "", **held} for held in _hold_out(total, notes)]
    else:
        other = _count_classes(files, f"{val}/")
        parts = [{"split": train}, {"split": val}]
        if lacking := sorted(counts.keys() - other.keys()):
            notes.append(f"{val} has no images of {', '.join(lacking[:5])}: their accuracy is not measured.")
            parts[1]["metainfo"] = {"classes": tuple(sorted(counts))}
        if more := sorted(other.keys() - counts.keys()):
            raise DataError(f"{root / val} has the class {more[0]!r}, which {train} lacks: remove it or add images")
    small = [f"{name} ({number})" for name, number in sorted(counts.items()) if number < 10]
    if small:
        notes.append(f"{len(small)} classes have fewer than 10 training images: {', '.join(small[:5])}.")
    inside = [path for path in files if whole or path.startswith(f"{train}/")]
    return Survey(*parts, _kept(total, parts[0]), tuple(sorted(counts)), _size(root, inside, notes), notes)


def survey_semantic(root: Path) -> Survey:
    """Survey images and label images with class indices."""
    pairs = _pair(root, (".png", ".bmp", ".tif"), _is_label_image, "label images (.png with one class index per pixel)")
    notes: list[str] = []
    parts = _as_parts(pairs, "images", notes)
    counts: Counter[int] = Counter()
    for path in _sample([root / label for part in pairs for label in part.paths(part.labels)], notes):
        values, numbers = np.unique(_pixels(path), return_counts=True)
        counts.update(dict(zip(map(int, values), numbers.tolist(), strict=True)))
    more: dict[str, Any] = {}
    values = sorted(counts)
    if values == [255]:
        raise DataError(f"{root}: the label images contain 255 only, which means ignored")
    if values == [0, 255]:
        more["label_map"], number = {0: 0, 255: 1}, 2
        notes.append("label images contain 0 and 255, which are used as two classes.")
    else:
        number = max(value for value in values if value != 255) + 1
        if number > 255:
            raise DataError(
                f"{root}: a label image contains the value {number - 1}; class indices are 0..254, 255 = ignored"
            )
        if len(values) < number // 2:
            notes.append(f"only {len(values)} of the values 0..{number - 1} occur: set label_map of SemSegFolder.")
        share = counts[255] / sum(counts.values())
        if share:
            notes.append(f"{share:.1%} of the pixels are 255, which means ignored.")
    classes = named_classes(root, number, notes)
    images = [path for part in pairs for path in part.paths(part.images)]
    return Survey(*parts, _kept(len(pairs[0].names), parts[0]), classes, _size(root, images, notes), notes, more)


def survey_depth(root: Path) -> Survey:
    """Survey color images and depth maps."""
    pairs = _pair(root, (".png", ".tif", ".npy"), _is_depth_map, "depth maps (16-bit .png, .tif or .npy)")
    notes: list[str] = []
    parts = _as_parts(pairs, "color", notes)
    values = [_pixels(path) for path in _sample([root / d for part in pairs for d in part.paths(part.labels)], notes)]
    known = np.concatenate([x[(x > 0) & np.isfinite(x) & (x < 65535)][::97] for x in values])
    if not known.size:
        raise DataError(f"{root}: the depth maps contain no depth, only 0 and 65535")
    whole = all(x.dtype.kind in "iu" for x in values)
    scale = 0.001 if whole else 1.0  # millimeters, or meters
    farthest = float(np.quantile(known, 0.999)) * scale
    notes.append(
        f"depth is read as {scale:g} meters per unit: median {np.median(known) * scale:.2f} m, almost all below "
        f"{farthest:.1f} m. Correct `scale` and `max_depth` if this is wrong (KITTI's files: scale = 1 / 256)."
    )
    images = [path for part in pairs for path in part.paths(part.images)]
    more = {"scale": scale, "max_depth": float(np.ceil(farthest))}
    return Survey(*parts, _kept(len(pairs[0].names), parts[0]), (), _size(root, images, notes), notes, more)


def survey_rotated(root: Path) -> Survey:
    """Survey images and text files of four corners."""
    pairs = _pair(root, (".txt",), lambda path: _is_corner_text(root / path), "text files with four corners per line")
    notes: list[str] = []
    parts = _as_parts(pairs, "images", notes)
    names: Counter[str] = Counter()  # of classes, as in DOTA's files
    numbers: Counter[int] = Counter()  # of classes, as in YOLO-OBB's files
    for path in [path for part in pairs for path in part.paths(part.labels)]:
        for words in map(str.split, (root / path).read_text(encoding="utf-8", errors="replace").splitlines()):
            if len(words) == 9 and words[0].isdigit() and is_number(words[8]):
                numbers[int(words[0])] += 1
            elif len(words) in (9, 10):
                names[words[8]] += 1
    if names and numbers:
        raise DataError(f"{root}: some label files name their classes and others number them: use one of both")
    if not names and not numbers:
        raise DataError(f"{root}: the label files contain no object")
    classes = tuple(sorted(names)) or named_classes(root, max(numbers) + 1, notes)
    images = [path for part in pairs for path in part.paths(part.images)]
    notes.append(f"{(names | numbers).total():,} objects in {len(images):,} images.")
    return Survey(*parts, _kept(len(pairs[0].names), parts[0]), classes, _size(root, images, notes), notes)


def survey_coco(root: Path, *, panoptic: bool, masks: bool) -> Survey:
    """Survey annotation files in COCO's format and the folders of their images."""
    everything = relative_files(root)
    found = [path for path in everything if path.endswith(".json")]
    files = {path: content for path in found if (content := _coco_content(root / path, panoptic)) is not None}
    kind = "panoptic" if panoptic else "instances"
    if not files:
        raise DataError(f"{root} has no annotation file in COCO's {kind} format among {len(found)} .json files")
    split = split_files(sorted(files), by_name=True)
    chosen = [split["train"][0], split["val"][0]] if split else [min(files)] * 2
    if len(files) > len(set(chosen)):
        others = ", ".join(sorted(set(files) - set(chosen)))
        notes = [f"of {len(files)} annotation files, {', '.join(dict.fromkeys(chosen))} are used and not {others}."]
    else:
        notes = []
    parts = []
    for path in chosen:
        content = files[path]
        if not content["images"]:
            raise DataError(f"{root / path} lists no images")
        part = {
            "ann_file": path,
            "data_prefix": {"img": _folder_of(everything, content["images"][0]["file_name"], path)},
        }
        if panoptic:
            part["data_prefix"]["panoptic"] = _folder_of(everything, content["annotations"][0]["file_name"], path)
        parts.append(part)
    content = files[chosen[0]]
    count = len(content["images"])
    if not split:
        for part, held in zip(parts, _hold_out(count, notes), strict=True):
            part.update(held)
        count = _kept(count, parts[0])
    categories = sorted(content["categories"], key=lambda entry: (not entry.get("isthing", 1), entry["id"]))
    if masks and not any(entry.get("segmentation") for entry in content["annotations"]):
        raise DataError(f"{root / chosen[0]} has boxes but no masks: use the task detection")
    images = [f"{parts[0]['data_prefix']['img']}/{entry['file_name']}" for entry in content["images"]]
    things = sum(bool(entry.get("isthing", 1)) for entry in categories)
    classes = tuple(str(entry["name"]) for entry in categories)
    return Survey(*parts, count, classes, _size(root, images, notes), notes, {"things": things})


def _coco_content(path: Path, panoptic: bool) -> dict | None:
    """Return the content of a COCO file of the wanted kind, else None."""
    try:
        content = read_json(str(path), ("images", "annotations", "categories"))
    except DataError:
        return None
    wanted = {"images": {"file_name"}, "categories": {"id", "name"}, "annotations": {"image_id"}}
    for key, keys in wanted.items():
        if not all(isinstance(entry, dict) and keys <= entry.keys() for entry in content[key]):
            raise DataError(f"{path}: an entry of {key} is no object with {', '.join(sorted(keys))}")
    segments = bool(content["annotations"]) and "segments_info" in content["annotations"][0]
    return content if segments == panoptic else None


def _folder_of(files: Sequence[str], name: str, owner: str) -> str:
    """Return the folder that contains the file `name` of the annotation file `owner`; all paths relative to the root.

    If several do, the one with the word "train", "val" or "test" of the annotation file.
    """
    folders = [path[: -len(name)].rstrip("/") for path in files if f"/{path}".endswith(f"/{name}")]
    if not folders:
        raise DataError(f"no folder contains {name}, which {owner} lists")
    words = [word for word in ("train", "val", "test") if word in owner.lower()]
    return min(folders, key=lambda folder: (not any(word in folder.lower() for word in words), len(folder), folder))


def _count_classes(files: Sequence[str], prefix: str) -> Counter[str]:
    rest = [path[len(prefix) :] for path in files if path.startswith(prefix)]
    return Counter(path.split("/")[0] for path in rest if "/" in path)


def _pair(root: Path, suffixes: tuple[str, ...], is_label, what: str) -> list[Pairs]:
    """Return the pairs of the training and validation part, or of the whole folder."""
    files = relative_files(root)
    split = split_files(files)

    def test(path: str) -> bool:
        return is_label(root / path)

    pairs = [pair_files(split[part], suffixes, test) for part in ("train", "val")] if split else []
    if not all(pairs) or not pairs:
        pairs = [pair_files(files, suffixes, test)]
    if pairs[0] is None:
        raise DataError(
            f"{root}: no images and {what} with the same names were found among {len(files)} files, such as "
            "images/train/a.jpg and labels/train/a.png. Write the patterns by hand: docs/own_data.md."
        )
    return pairs


def _as_parts(pairs: Sequence[Pairs], argument: str, notes: list[str]) -> list[dict[str, Any]]:
    """Return the arguments of the datasets: patterns, and indices if there is no validation part."""
    label = "depth" if argument == "color" else "labels"
    for part in pairs:
        if part.alone:
            notes.append(
                f"{len(part.alone)} images of {part.images} have no label file, the first is {part.alone[0]!r}: move "
                "them away, since the dataset refuses them."
            )
    parts = [{argument: part.images, label: part.labels} for part in pairs]
    if len(parts) == 1:
        parts = [dict(parts[0], **held) for held in _hold_out(len(pairs[0].names), notes)]
    return parts


def _hold_out(number: int, notes: list[str]) -> list[dict[str, Source]]:
    """Return the indices of training and validation if there is no validation part: every fifth is held out."""
    if number < 5:
        raise DataError(f"{number} images are too few to hold some out for validation; expected at least 5")
    notes.append(
        "there is no validation folder: every fifth image is held out. Frames of one video are too similar for this: "
        "put them into folders named train and val."
    )
    return [
        {"indices": Source(f"[i for i in range({number}) if i % 5 < 4]")},
        {"indices": Source(f"range(4, {number}, 5)")},
    ]


def _kept(number: int, part: dict[str, Any]) -> int:
    """Return how many of `number` images a part uses."""
    return number - number // 5 if "indices" in part else number


def _size(root: Path, images: Sequence[str], notes: list[str]) -> tuple[int, int]:
    """Return the median (height, width) of the images."""
    sizes, odd = image_sizes([root / path for path in images])
    if odd:
        notes.append(
            f"{len(odd)} of {len(sizes) + len(odd)} sampled files are no readable images, the first is {odd[0]}."
        )
    if not sizes:
        raise DataError(f"{root}: none of {len(odd)} sampled files is a readable image, the first is {odd[0]}")
    if len(set(sizes)) > 1:
        low, high = min(sizes), max(sizes)
        notes.append(f"images have different sizes, {low[0]}x{low[1]} to {high[0]}x{high[1]}.")
    return tuple(int(x) for x in np.median(np.array(sizes), axis=0))


def _sample(paths: Sequence[Path], notes: list[str]) -> Sequence[Path]:
    """Return all paths, or of very many every k-th, which `notes` then says."""
    step = -(-len(paths) // _READ)
    if step > 1:
        notes.append(f"of {len(paths):,} label files, {len(paths[::step]):,} were read: rare values can be missing.")
    return paths[::step]


def _pixels(path: Path) -> np.ndarray:
    """Return the values of a label image or depth map.

    Raises:
        DataError: The file is damaged.
    """
    try:
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        with Image.open(path) as image:
            return np.asarray(image)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _is_label_image(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            if image.mode in ("P", "1"):
                return True
            return image.mode in ("L", "I;16", "I") and len(np.unique(np.asarray(image))) <= 64
    except (OSError, ValueError, SyntaxError):
        return False


def _is_depth_map(path: Path) -> bool:
    if path.suffix == ".npy":
        return True
    try:
        with Image.open(path) as image:
            return image.mode[:1] in ("I", "F")
    except (OSError, ValueError, SyntaxError):
        return False


def _is_corner_text(path: Path) -> bool:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return False
    words = next((line.split() for line in lines if len(line.split()) >= 5), [])
    return not lines or (len(words) in (9, 10) and all(map(is_number, words[1:8])))
