"""Read image files; a missing, damaged or truncated file raises a DataError that names it."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from vislab.errors import DataError
from vislab.io import file_checks as checks
from vislab.io.archives import read_member, split_archive

_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # decodes to RGB directly, if supported by this OpenCV
_LABEL_MODES = ("P", "L", "1", "I", "I;16", "I;16B", "I;16L", "I;16N")


def read_bytes(path: str) -> bytes:
    """Return the content of a file.

    Raises:
        DataError: The file is missing, empty or cannot be read.
    """
    if ".zip" in path and (inside := split_archive(path)) is not None:
        return read_member(*inside)
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}: {reason}. Check the path and data_root.") from error
    if not data:
        raise DataError(f"{path} is empty (0 bytes): download or unpack it again")
    return data


def read_rgb(path: str, *, exif: bool = True) -> np.ndarray:
    """Read an image file as (H, W, 3) uint8 RGB, rotated by its EXIF orientation unless `exif` is False.

    Gray is repeated over the channels, alpha is removed, 16 bits are reduced to the upper 8; of several pages or frames
    the first is read.
    """
    return decode_rgb(path, read_bytes(path), exif=exif)


def decode_rgb(path: str, data: bytes, *, exif: bool = True) -> np.ndarray:
    """Decode the content of an image file like `read_rgb`; `path` is its name in error messages."""
    checks.refuse_damaged(path, data)
    as_stored = 0 if exif else cv2.IMREAD_IGNORE_ORIENTATION
    plain = checks.is_jpeg(data)  # the most common format: one page, 8 bits
    if not plain:
        checks.warn_of_pages(path, data)
        if checks.is_tiff(data) and (img := _tiff_with_alpha(data, exif)) is not None:
            return img
    if not plain and checks.may_be_deep(data):
        img = _decode(path, data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | as_stored)
        if img.dtype == np.uint16:
            checks.warn_of_low_range(path, img)
            img = (img >> 8).astype(np.uint8)
        elif img.dtype != np.uint8:
            raise DataError(f"{path} contains {img.dtype} values; images have 8 or 16 bits per channel: convert it")
    elif _RGB is not None:
        return _decode(path, data, _RGB | as_stored)
    else:
        img = _decode(path, data, cv2.IMREAD_COLOR | as_stored)
    return cv2.cvtColor(img, cv2.COLOR_BGR2RGB)


def read_size(path: str) -> tuple[int, int]:
    """Return height and width of an image file as `read_rgb` reads it, from its header.

    Raises:
        DataError: The file is missing, empty or not an image.
    """
    try:
        with checks.open_image(path) as img:
            return (img.width, img.height) if _orientation(img) >= 5 else (img.height, img.width)
    except Exception:  # OpenCV reads more formats than Pillow, and has the better message
        return read_rgb(path).shape[:2]


def exif_orientation(data: bytes) -> int:
    """Return the EXIF orientation (1..8) in the content of an image file; 1 if there is none."""
    try:
        with checks.open_image(data) as img:
            return _orientation(img)
    except Exception:  # the decoder reports the error
        return 1


def _orientation(img: Image.Image) -> int:
    """Return the EXIF orientation; 1 for values that do not exist, which decoders ignore."""
    value = img.getexif().get(0x112, 1)
    return value if value in range(1, 9) else 1


def _tiff_with_alpha(data: bytes, exif: bool) -> np.ndarray | None:
    """Return the colors of a TIFF file with alpha, which OpenCV would premultiply; None for other TIFF files."""
    try:
        with checks.open_image(data) as img:
            if img.mode not in ("RGBA", "LA", "PA") or not exif and _orientation(img) != 1:
                return None
            img.load()  # recent Pillow versions rotate the image and remove the tag
            return np.ascontiguousarray(np.asarray(ImageOps.exif_transpose(img).convert("RGBA"))[..., :3])
    except Exception:  # left to OpenCV
        return None


def read_raw(path: str) -> np.ndarray:
    """Read the raw values of an image file or `.npy` array: (H, W) or (H, W, C) in RGB order, 8 or 16 bits or float.

    Palette images return colors; see `read_indices` for their indices.
    """
    data = read_bytes(path)
    if path.lower().endswith((".npy", ".npz")):
        return _numpy_array(path, data)
    checks.refuse_damaged(path, data)
    checks.warn_of_pages(path, data)
    img = _decode(path, data, cv2.IMREAD_UNCHANGED)
    return np.ascontiguousarray(img[..., 2::-1]) if img.ndim == 3 else img


def _numpy_array(path: str, data: bytes) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # broken headers raise SyntaxError, TokenError, MemoryError and others
        raise DataError(f"{path} is not a NumPy array file: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path} is an .npz archive of arrays: save the array itself with numpy.save")
    if array.dtype.kind not in "iuf":
        raise DataError(f"{path} contains values of type {array.dtype}; expected integers or floats")
    return array


def read_indices(path: str) -> np.ndarray:
    """Read a label image as (H, W) integers: the stored gray values, or the indices of a palette image.

    Raises:
        DataError: As in `read_bytes`; or the image has colors or alpha instead of one index per pixel.
    """
    data = read_bytes(path)
    checks.refuse_wrong_checksums(path, data)
    try:
        with checks.open_image(data) as img:
            if img.mode not in _LABEL_MODES:
                raise DataError(
                    f"{path} has mode {img.mode}; a label image contains one class index per pixel (modes L, P, I): "
                    "convert colors to indices first"
                )
            array = np.asarray(img)
    except DataError:
        raise
    except Exception as error:  # Pillow's plugins raise struct.error, KeyError and others for broken headers
        raise DataError(f"{path} is not an image that can be decoded: {error}") from error
    checks.warn_of_pages(path, data)
    if checks.is_jpeg(data):
        text = f"{path}: JPEG compression changes class indices. Store label images as PNG."
        checks.warn_once("jpeg labels", text)
    if (bits := checks.small_gray_bits(data)) is not None:
        return array // (255 // (2**bits - 1))
    return array.astype(np.uint8) if array.dtype == bool else array


def _decode(path: str, data: bytes, flags: int) -> np.ndarray:
    """Decode an image with OpenCV.

    Raises:
        DataError: OpenCV cannot decode it.
    """
    reason = f"{len(data)} bytes"
    try:
        img = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        img, reason = None, f"{reason}: {error.err}"
    if img is None:
        if path.lower().endswith(".exr"):
            reason += "; OpenCV reads EXR only with OPENCV_IO_ENABLE_OPENEXR=1 in the environment"
        elif checks.is_tiff(data):
            reason += "; TIFF images of floats are not supported"
        raise DataError(f"{path} is not an image that can be decoded ({reason}): download or convert it again")
    return img
