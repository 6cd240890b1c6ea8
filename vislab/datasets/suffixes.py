"""Which files count as images and as videos, by the end of their name. The one list that every folder listing uses."""

import os
from pathlib import Path

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
"""Still images that OpenCV decodes, in lower case."""

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


def plain_ending(name: str) -> str:
    """Returns the name with its suffix in lower case and in its usual spelling: `a.JPEG` -> `a.jpg`."""
    stem, suffix = os.path.splitext(name)
    return stem + _SAME.get(suffix.lower(), suffix.lower())
