"""Reads image files whole or not at all: a missing, broken or cut-off file is a DataError that names it."""

import io
from pathlib import Path

import cv2
import numpy as np

from vislab.datasets.archives import read_member, split_archive
from vislab.errors import DataError

_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # decodes to RGB directly, where this OpenCV can


def read_bytes(path: str) -> bytes:
    """The file's content.

    Raises:
        DataError: it is missing, empty or cannot be read.
    """
    if ".zip" in path and (inside := split_archive(path)) is not None:
        return read_member(*inside)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}. Check the path and data_root.") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes): fetch or unpack it again")
    return data


def read_rgb(path: str) -> np.ndarray:
    """Any image file as (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Grey is repeated over the channels, alpha is dropped, 16 bits are reduced to 8.
    """
    data = read_bytes(path)
    _refuse_truncated(path, data)
    img = _decode(data, cv2.IMREAD_COLOR if _RGB is None else _RGB)
    if img is None:
        raise DataError(f"{path} is not an image that can be decoded ({len(data)} bytes): fetch or convert it again")
    return cv2.cvtColor(img, cv2.COLOR_BGR2RGB) if _RGB is None else img


def read_raw(path: str) -> np.ndarray:
    """An image file's own values: (H, W) or (H, W, C) RGB order, 8 or 16 bits or float; `.npy` arrays too.

    A palette image gives its colours, not its indices: see `read_indices`.
    """
    data = read_bytes(path)
    if path.endswith(".npy"):
        try:
            return np.load(io.BytesIO(data), allow_pickle=False)
        except ValueError as error:
            raise DataError(f"{path} is not a plain NumPy array: {error}") from error
    _refuse_truncated(path, data)
    img = _decode(data, cv2.IMREAD_UNCHANGED)
    if img is None:
        raise DataError(f"{path} is not an image that can be decoded ({len(data)} bytes): fetch or convert it again")
    return np.ascontiguousarray(img[..., 2::-1]) if img.ndim == 3 else img


def read_indices(path: str) -> np.ndarray:
    """A label image as (H, W) integers: grey levels, or the indices of a palette image.

    Raises:
        DataError: besides what `read_bytes` raises, the image has colours instead of one index a pixel.
    """
    from PIL import Image

    data = read_bytes(path)
    try:
        with Image.open(io.BytesIO(data)) as img:
            if img.mode not in ("P", "L", "1", "I", "I;16", "I;16B"):
                raise DataError(
                    f"{path} has mode {img.mode}; a label image holds one class index a pixel (modes L, P, I): "
                    "convert colours to indices first"
                )
            array = np.asarray(img)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is not an image that can be decoded: {error}") from error
    return array.astype(np.uint8) if array.dtype == bool else array


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _refuse_truncated(path: str, data: bytes) -> None:
    """OpenCV fills what a cut-off file lacks with grey: look for the end mark, ask Pillow only when in doubt."""
    if data[:2] == b"\xff\xd8":
        whole = data.rfind(b"\xff\xd9", len(data) // 2) >= 0
    elif data[:4] == b"\x89PNG":
        whole = data.find(b"IEND", -4096) >= 0 if len(data) > 4096 else b"IEND" in data
    else:
        return
    if whole:
        return
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as img:
            img.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(
            f"{path} is cut off or damaged ({len(data)} bytes: {error}): fetch or unpack it again"
        ) from error
