"""Merge the detections in tiles of DOTA by an index file, and write the files of the evaluation server (Task 1)."""

import io
import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import InstanceData

from vislab.apis.tiles import ROTATED_THRESHOLD, merge_instances
from vislab.datasets.dota_tiles import read_index
from vislab.datasets.object_boxes import ANGLE_LIMIT
from vislab.errors import ConfigError, DataError
from vislab.io.atomic import write_atomically
from vislab.structures.rotated_boxes import to_dota, translate


def merge_tiles(
    index: str | Path, predictions: str | Path, *, threshold: float = ROTATED_THRESHOLD, min_score: float = 0.0
) -> tuple[dict[str, InstanceData], list[str]]:
    """Return the detections in each image by its name, and the class names.

    Args:
        index: The index file of the tiles.
        predictions: predictions.json of `tools/predict.py` for the folder of tiles.
        threshold: IoU above which the lower of two detections of a class is removed.
        min_score: Detections with a lower score are removed first.

    Raises:
        ConfigError: `threshold` or `min_score` is not in 0..1.
        DataError: A tile of the index has no prediction or the reverse, or detections lack a class name, score or
            rotated box.
    """
    if not (0 <= threshold <= 1 and 0 <= min_score <= 1):
        raise ConfigError(f"threshold={threshold}, min_score={min_score}: expected an IoU and a score in 0..1")
    sizes, places = read_index(index)
    found = _read_predictions(predictions)
    for names, others, what in ((places, found, f"predictions in {predictions}"), (found, places, f"entry in {index}")):
        missing = [name for name in names if name not in others]
        if missing:
            raise DataError(f"{len(missing)} of {len(names)} tiles have no {what}, the first is {missing[0]}")
    classes: dict[str, int] = {}
    rows: dict[str, list[tuple[int, float, list[float]]]] = {name: [] for name in sizes}
    for name, place in places.items():
        for number, item in enumerate(found[name]):
            label, score, box = _detection(item, f"{predictions}: detection {number} of {name}")
            if score >= min_score:
                moved = translate(torch.tensor(box, dtype=torch.float64), place.tile.left, place.tile.top).tolist()
                rows[place.image].append((classes.setdefault(label, len(classes)), score, moved))
    merged = {name: merge_instances(_instances(items), threshold) for name, items in rows.items()}
    return merged, list(classes)


def write_submission(
    images: Mapping[str, InstanceData], names: Sequence[str], out: str | Path, classes: Sequence[str]
) -> None:
    """Write an archive of Task1_CLASS.txt files with the lines "image score x1 y1 x2 y2 x3 y3 x4 y4".

    Args:
        images: Detections by image, as from `merge_tiles`.
        names: Their class names.
        out: Path of the .zip file, which is replaced when complete.
        classes: Classes of the task, each of which has a file.

    Raises:
        DataError: A detected class is not one of them.
    """
    unknown = [name for name in names if name not in classes]
    if unknown:
        raise DataError(f"the predictions have the class {unknown[0]!r}, which is not one of {', '.join(classes)}")
    lines: dict[str, list[str]] = {name: [] for name in classes}
    for image, found in images.items():
        corners = to_dota(found.rbboxes).tolist()  # N x 8
        for label, score, points in zip(found.labels.tolist(), found.scores.tolist(), corners, strict=True):
            numbers = " ".join(f"{value:.2f}" for value in points)
            lines[names[label]].append(f"{image} {score:.6f} {numbers}\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in classes:
            archive.writestr(f"Task1_{name}.txt", "".join(lines[name]))
    write_atomically(out, lambda file: file.write(buffer.getvalue()))


def _read_predictions(path: str | Path) -> dict[str, list[dict]]:
    """Return the detections of each input."""
    try:
        content = json.loads(Path(path).read_bytes())
        return {name: results[0]["instances"] for name, results in content.items()}
    except OSError as error:
        raise DataError(f"cannot read the predictions {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DataError(
            f"{path} is not the predictions.json of tools/predict.py with detections for each image: {error!r}"
        ) from error


def _detection(item: Any, place: str) -> tuple[str, float, list[float]]:
    try:
        label, score, box = item["label"]["name"], float(item["score"]), [float(v) for v in item["rbbox"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{place} needs a label with a name, a score and an rbbox: {error!r}") from error
    if len(box) != 5:
        raise DataError(f"{place}: rbbox has {len(box)} numbers; expected cx, cy, w, h, theta")
    if not (all(map(math.isfinite, (score, *box))) and min(box[2:4]) >= 0 and abs(box[4]) <= ANGLE_LIMIT):
        raise DataError(
            f"{place}: score {score:g} and rbbox {box}: expected finite numbers, sides of at least 0, and an angle in "
            "radians"
        )
    return label, score, box


def _instances(rows: Sequence[tuple[int, float, list[float]]]) -> InstanceData:
    return InstanceData(
        labels=torch.tensor([row[0] for row in rows], dtype=torch.int64),
        scores=torch.tensor([row[1] for row in rows], dtype=torch.float64),
        rbboxes=torch.tensor([row[2] for row in rows], dtype=torch.float64).reshape(-1, 5),
    )
