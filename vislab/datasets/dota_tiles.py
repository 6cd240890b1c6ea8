"""Cut the large images of DOTA into tiles with their objects, and read the index file that says where each tile lies.

The tiles are written to `OUT.partial`, which is renamed to `OUT` when it is complete. If a run is stopped, the same
command continues it.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from vislab.datasets.corner_text import DOTA
from vislab.datasets.object_boxes import Entry, Problems
from vislab.datasets.oriented import AnnotatedImage
from vislab.errors import ConfigError, DataError
from vislab.io.atomic import write_atomically, write_text_atomically
from vislab.io.images import read_rgb
from vislab.io.run_settings import changed_settings
from vislab.structures import rotated_boxes as rb
from vislab.structures.tiles import Tile, check_tiles, tile_windows

INDEX = "tiles.json"
_SETTINGS = "settings.json"


class TilePlace(NamedTuple):
    """Image and window of a tile."""

    image: str
    tile: Tile


def cut_tiles(
    source: str | Path,
    out: str | Path,
    *,
    size: int = 1024,
    overlap: int = 200,
    min_visibility: float = 0.7,
    images: str = "images/*.png",
    labels: str = "labelTxt/*.txt",
    classes: Sequence[str] | None = None,
    workers: int = 0,
) -> Iterator[tuple[int, int]]:
    """Cut all images of a split in DOTA's layout; yields the number of images that are done, and their total.

    Writes images/NAME.png, labelTxt/NAME.txt and tiles.json, the index. Objects keep their corners and difficulty, also
    where they exceed the tile. Objects with a smaller part inside a tile are not in its text file. (The published
    threshold of 0.6 on the part of a window inside the image has no effect, since windows are shifted into it.)

    Args:
        source: Folder of a split.
        out: New folder.
        size, overlap: See `tile_windows`; published settings are 1024 and 200, and 800 and 200.
        min_visibility: Minimum part of an object's area inside the tile (IoF).
        images, labels, classes: See CornerText; `labels=""` for a split without labels.
        workers: Number of additional processes.

    Raises:
        ConfigError: `out` exists, or an incomplete run with other settings does.
        DataError: The source is invalid.
    """
    check_tiles(size, overlap)
    if not 0 <= min_visibility <= 1:
        raise ConfigError(f"min_visibility={min_visibility} is not a part of an area: expected 0..1")
    out = Path(out)
    partial = out.with_name(f"{out.name}.partial")
    if out.exists():
        raise ConfigError(f"{out} exists: choose another folder, or remove it")
    dataset = DOTA(data_root=str(source), images=images, labels=labels, classes=classes)
    settings = {
        "source": os.path.abspath(source), "size": size, "overlap": overlap, "min_visibility": min_visibility,
        "images": images, "labels": labels, "classes": None if classes is None else list(classes),
    }  # fmt: skip
    _start(partial, settings)
    found = dataset.read_annotations(Problems("DOTA"))
    records = map(dataset.get_data_info, range(len(dataset)))
    sizes = {record["img_id"]: (record["height"], record["width"]) for record in records}
    jobs = [(image._replace(size=sizes[image.name]), partial, size, overlap, min_visibility) for image in found]
    rows: list[dict] = []
    for done, tiles in enumerate(_each(jobs, workers), 1):
        rows += tiles
        yield done, len(jobs)
    index = {
        "size": size,
        "overlap": overlap,
        "images": [{"name": i.name, "height": sizes[i.name][0], "width": sizes[i.name][1]} for i in found],
        "tiles": rows,
    }
    write_text_atomically(json.dumps(index), partial / INDEX)
    for leftover in partial.rglob("*.tmp"):
        leftover.unlink()
    (partial / _SETTINGS).unlink()
    partial.rename(out)


def read_index(path: str | Path) -> tuple[dict[str, tuple[int, int]], dict[str, TilePlace]]:
    """Return the size (h, w) of each image, and the place of each tile by its name without suffix.

    Raises:
        DataError: The file is missing or not an index.
    """
    try:
        content = json.loads(Path(path).read_bytes())
        sizes = {i["name"]: (int(i["height"]), int(i["width"])) for i in content["images"]}
        places = {
            t["name"]: TilePlace(t["image"], Tile(*(int(t[key]) for key in Tile._fields))) for t in content["tiles"]
        }
    except OSError as error:
        raise DataError(f"cannot read the index of tiles {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{path} is not an index of tiles, as {INDEX} made by dota_tiles.py: {error}") from error
    unknown = next((p.image for p in places.values() if p.image not in sizes), None)
    if unknown is not None:
        raise DataError(f"{path}: a tile belongs to the image {unknown!r}, which is not listed")
    return sizes, places


def _start(partial: Path, settings: Mapping[str, Any]) -> None:
    """Create the folder, or check that the run that is continued has the same settings."""
    path = partial / _SETTINGS
    changed = changed_settings(path, settings)
    if changed:
        shown = ", ".join(f"{key}={value!r}" for key, value in changed.items())
        raise ConfigError(f"{partial} is an incomplete run with {shown}: repeat these settings, or remove it")
    if changed is None and partial.exists():
        raise ConfigError(f"{partial} exists and is not an incomplete run: remove it")
    if changed is None:
        for folder in ("images", "labelTxt"):
            (partial / folder).mkdir(parents=True)
        write_text_atomically(json.dumps(settings), path)


def _each(jobs: Sequence[tuple], workers: int) -> Iterable[list[dict]]:
    if workers < 1:
        yield from map(_cut, jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_cut, jobs)


def _cut(job: tuple[AnnotatedImage, Path, int, int, float]) -> list[dict]:
    """Write the tiles of one image that do not exist yet; returns their rows of the index."""
    image, out, size, overlap, min_visibility = job
    windows = tile_windows(image.size, size, overlap)
    names = [f"{image.name}__{tile.left}_{tile.top}" for tile in windows]
    pixels = None
    for name, tile in zip(names, windows, strict=True):
        text, picture = out / "labelTxt" / f"{name}.txt", out / "images" / f"{name}.png"
        if picture.exists():  # written after the text
            continue
        if pixels is None:
            pixels = read_rgb(image.path, exif=True)
            if pixels.shape[:2] != tuple(image.size):
                raise DataError(f"{image.path} is {pixels.shape[:2]} (h x w), its header says {image.size}")
        if image.entries is not None:
            write_text_atomically(_lines(image.entries, tile, min_visibility), text)
        window = pixels[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width]
        coded = cv2.imencode(".png", np.ascontiguousarray(window[..., ::-1]))[1]
        write_atomically(picture, lambda file, coded=coded: file.write(coded.tobytes()))
    return [{"name": n, "image": image.name, **t._asdict()} for n, t in zip(names, windows, strict=True)]


def _lines(entries: Sequence[Entry], tile: Tile, min_visibility: float) -> str:
    """Return the text file of a tile in DOTA's format."""
    if not entries:
        return ""
    corners = np.array([entry.box for entry in entries]) - np.tile([tile.left, tile.top], 4)  # (N, 8)
    visible = rb.clip_to_window(rb.from_dota(corners), (tile.height, tile.width))[1]
    lines = []
    for entry, points, part in zip(entries, corners, visible, strict=True):
        if part >= min_visibility and part > 0:
            numbers = " ".join(f"{value:.2f}".removesuffix(".00") for value in points)
            lines.append(f"{numbers} {entry.name.replace(' ', '-')} {int(entry.ignore)}\n")
    return "".join(lines)
