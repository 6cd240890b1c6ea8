"""Lists the files of folders, and says which of them count as images and as videos by the end of their name."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vislab.errors import DataError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Still images that OpenCV decodes, in lower case."""

_UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".jp2", ".gif", ".svg", ".dng", ".cr2", ".nef", ".arw", ".exr")

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv")
VIDEO_SUFFIXES += (".flv", ".ogv", ".3gp", ".y4m", ".gif")
"""Videos that FFmpeg decodes, in lower case; a GIF is one because most are animated."""

_SAME = {".jpeg": ".jpg", ".jfif": ".jpg", ".tiff": ".tif"}


def is_hidden(path: str | Path) -> bool:
    """Whether the file's name begins with a dot: editor backups, and the `._photo.jpg` that macOS adds to archives."""
    return os.path.basename(path).startswith(".")


def is_image(path: str | Path) -> bool:
    """Whether the name is that of an image file, in any case of letters, and not hidden."""
    return str(path).lower().endswith(IMAGE_SUFFIXES) and not is_hidden(path)


def is_video(path: str | Path) -> bool:
    """Whether the name is that of a video file, in any case of letters, and not hidden."""
    return str(path).lower().endswith(VIDEO_SUFFIXES) and not is_hidden(path)


def choose_images(paths: Iterable[str], where: str | Path) -> list[str]:
    """Returns those that are images; a warning says which formats of pictures are left out because they are not read.

    Args:
        paths: files.
        where: what the warning calls their folder.
    """
    images, left = [], []
    for path in paths:
        if is_image(path):
            images.append(path)
        elif path.lower().endswith(_UNREAD_SUFFIXES):
            left.append(path)
    if left:
        kinds = ", ".join(sorted({os.path.splitext(path)[1].lower() for path in left}))
        text = f"{where}: {len(left)} files are left out, because pictures of these formats are not read: {kinds}"
        logger.warning(f"{text}. Convert them to .jpg or .png.")
    return images


def plain_ending(path: str) -> str:
    """Returns the path with its suffix in lower case and in its usual spelling: `a.JPEG` -> `a.jpg`."""
    stem, dot, suffix = path.rpartition(".")
    if not dot or "/" in suffix:
        return path
    return stem + _SAME.get(f".{suffix}".lower(), f".{suffix}".lower())


def list_files(folder: str | Path, *, deep: bool = True) -> Iterator[str]:
    """Yields the paths of the files in a folder, in no order; hidden files and folders are passed over.

    Links are followed, except into a folder that they stand in. A link that leads nowhere is yielded too, so that
    whoever opens it says so.

    Args:
        folder: where to look.
        deep: look into its folders as well.

    Raises:
        DataError: a folder does not exist or cannot be read.
    """
    yield from _walk(str(folder), deep, [])


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
        # of a link that leads to itself, `entry.is_dir` raises
        is_folder = os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()
        if not is_folder:
            yield entry.path
        elif deep:
            yield from _walk(entry.path, deep, [*parents, place])
