"""List the files in folders, and recognize images and videos by their suffixes."""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from vislab.errors import DataError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of image formats that OpenCV decodes, in lower case."""

_UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".svg", ".dng", ".cr2", ".nef", ".arw", ".exr")

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv")
VIDEO_SUFFIXES += (".flv", ".ogv", ".3gp", ".y4m", ".gif", ".hnv")
"""Suffixes of video formats that FFmpeg decodes, and .hnv, in lower case; GIF is included because most are animated."""

_SAME = {".jpeg": ".jpg", ".jfif": ".jpg", ".tiff": ".tif"}


def is_hidden(path: str | Path) -> bool:
    """Return whether the file name begins with a dot, as editor backups and macOS resource forks (`._photo.jpg`) do."""
    return os.path.basename(path).startswith(".")


def is_image(path: str | Path) -> bool:
    """Return whether the name has an image suffix, in lower or upper case, and is not hidden."""
    return str(path).lower().endswith(IMAGE_SUFFIXES) and not is_hidden(path)


def is_video(path: str | Path) -> bool:
    """Return whether the name has a video suffix, in lower or upper case, and is not hidden."""
    return str(path).lower().endswith(VIDEO_SUFFIXES) and not is_hidden(path)


def choose_images(paths: Iterable[str], where: str | Path) -> list[str]:
    """Return the paths of images; logs a warning if images of unsupported formats are skipped.

    Args:
        paths: Paths of files.
        where: Name of their folder in the warning.
    """
    images, left = [], []
    for path in paths:
        if is_image(path):
            images.append(path)
        elif path.lower().endswith(_UNREAD_SUFFIXES):
            left.append(path)
    if left:
        kinds = ", ".join(sorted({os.path.splitext(path)[1].lower() for path in left}))
        text = f"{where}: {len(left)} files are skipped, because their image formats are not supported: {kinds}"
        logger.warning(f"{text}. Convert them to .jpg or .png.")
    return images


def plain_ending(path: str) -> str:
    """Return the path with a lower-case suffix in its usual spelling: `a.JPEG` -> `a.jpg`."""
    stem, dot, suffix = path.rpartition(".")
    if not dot or "/" in suffix:
        return path
    return stem + _SAME.get(f".{suffix}".lower(), f".{suffix}".lower())


def list_files(folder: str | Path, *, deep: bool = True) -> Iterator[str]:
    """Yield the paths of the files in a folder, in arbitrary order; hidden files and folders are skipped.

    Links are followed, except into one of their parent folders. Broken links are yielded too, so that opening them
    raises an error.

    Args:
        folder: Path of the folder.
        deep: Whether to list subfolders as well.

    Raises:
        DataError: A folder does not exist or cannot be read.
    """
    yield from _walk(str(folder), deep, [])


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder in natural order (frame2 before frame10); hidden files are skipped.

    Raises:
        DataError: There are no images, two files differ only in their suffix, or the folder cannot be read.
    """
    images = [Path(path) for path in choose_images(list_files(folder, deep=False), folder)]
    if not images:
        raise DataError(
            f"the folder {folder} contains no images ({', '.join(IMAGE_SUFFIXES)}). Set source to the folder with the "
            "frames."
        )
    images.sort(key=lambda path: ([int(t) if t.isdecimal() else t for t in re.split(r"(\d+)", path.name)], path.name))
    by_stem: dict[str, Path] = {}
    for path in images:
        twin = by_stem.setdefault(path.stem, path)
        if twin is not path:
            raise DataError(
                f"{folder} contains {twin.name} and {path.name}, which have the same frame name. Keep one of the two."
            )
    return images


def _walk(folder: str, deep: bool, parents: list[tuple[int, int]]) -> Iterator[str]:
    try:
        status = os.stat(folder)
        place = status.st_dev, status.st_ino
        if place in parents:
            return
        with os.scandir(folder) as entries:
            found = list(entries)
    except OSError as error:
        raise DataError(f"cannot list the folder {folder}: {error.strerror or error}. Check the path.") from error
    for entry in found:
        if is_hidden(entry.name):
            continue
        # `entry.is_dir` raises for a link to itself
        is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
        if not is_folder:
            yield entry.path
        elif deep:
            yield from _walk(entry.path, deep, [*parents, place])
