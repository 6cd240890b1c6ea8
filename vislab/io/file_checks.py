"""Checks on the bytes of image files: truncation, bit depth, multiple pages.

Decoders silently fill missing parts with gray, return the first of several pages, and reduce 16 bits to 8.
"""

import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image
from torch.utils.data import get_worker_info

from vislab.errors import DataError

logger = logging.getLogger(__name__)

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"acTL", b"fcTL", b"fdAT")  # chunks that affect the pixels
MOST_PIXELS = 1 << 30
"""Maximum image size, as in OpenCV; aerial images can exceed Pillow's limit of 179 million pixels."""

_said: set[str] = set()


def warn_once(kind: str, text: str, *, every_worker: bool = False) -> None:
    """Log a warning once per process and kind.

    Args:
        kind: Only the first of several warnings of a kind is logged.
        text: The warning.
        every_worker: Log in all data loader workers, for warnings about few samples; otherwise in the first one only.
    """
    worker = get_worker_info()
    if kind not in _said and (every_worker or worker is None or worker.id == 0):
        logger.warning(text)
    _said.add(kind)


@contextmanager
def open_image(data: bytes | str) -> Iterator[Image.Image]:
    """Open the content of an image file, or its path, with Pillow; the limit is MOST_PIXELS instead of Pillow's own.

    Raises:
        ValueError: The image is larger.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(data if isinstance(data, str) else io.BytesIO(data)) as img:
            if img.width * img.height > MOST_PIXELS:
                raise ValueError(f"{img.width} x {img.height} pixels; at most {MOST_PIXELS} are read")
            yield img
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def refuse_damaged(path: str, data: bytes) -> None:
    """Raise an error for truncated JPEG and PNG files; other formats are checked by OpenCV and Pillow.

    Looks for the end marker, and decodes the file with Pillow if it is missing.

    Raises:
        DataError: The file is truncated.
    """
    if is_jpeg(data):
        # most files have the end marker at the end, and no thumbnail in the header with its own end marker
        simple = data.endswith(b"\xff\xd9") and data.find(b"\xff\xd8", 2) < 0
        whole = simple or data.rfind(b"\xff\xd9", _jpeg_scan(data)) >= 0
    elif data[:4] == _PNG[:4]:
        whole = data.find(b"IEND", -4096) >= 0 if len(data) > 4096 else b"IEND" in data
    else:
        return
    if whole:
        if is_animated_png(data):
            refuse_wrong_checksums(path, data)  # OpenCV checks those of still images only
        return
    try:
        with open_image(data) as img:
            img.load()
    except Exception as error:  # Pillow's plugins raise struct.error, KeyError and others for broken headers
        raise DataError(
            f"{path} cannot be decoded: it is truncated or damaged ({len(data)} bytes: {error}). Download it again."
        ) from error


def _jpeg_scan(data: bytes) -> int:
    """Return the offset of the pixel data of a JPEG file."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        # 0xFF may be repeated as filler; all markers before the scan have a length
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def refuse_wrong_checksums(path: str, data: bytes) -> None:
    """Raise an error if a PNG chunk that affects the pixels has a wrong checksum; decoders do not check all of them.

    Raises:
        DataError: The file is damaged.
    """
    at, view = len(_PNG), memoryview(data)
    while data.startswith(_PNG) and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        stated = int.from_bytes(data[end : end + 4], "big")
        if kind in _PNG_PIXELS and zlib.crc32(view[at + 4 : end]) != stated:
            raise DataError(f"{path} is damaged: its {kind.decode()} chunk has a wrong checksum. Download it again.")
        if kind == b"IEND":
            return
        at = end + 4


def small_gray_bits(data: bytes) -> int | None:
    """Return the bits per pixel of a 2 or 4 bit gray PNG, whose values Pillow scales to 0..255; else None."""
    return data[24] if data.startswith(_PNG) and len(data) > 25 and data[24] in (2, 4) and data[25] == 0 else None


def may_be_deep(data: bytes) -> bool:
    """Return whether the file may have 16 bits per channel: a PNG with 16 bits, any TIFF or PNM."""
    if data.startswith(_PNG):
        return data[24:25] == b"\x10"
    return is_tiff(data) or data[:2] in (b"P2", b"P3", b"P5", b"P6")


def is_jpeg(data: bytes) -> bool:
    """Return whether the bytes are a JPEG file."""
    return data[:2] == b"\xff\xd8"


def is_animated_png(data: bytes) -> bool:
    """Return whether the bytes are an animated PNG file."""
    return data.startswith(_PNG) and b"acTL" in data[:64]


def is_tiff(data: bytes) -> bool:
    """Return whether the bytes are a TIFF file, of either byte order."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def warn_of_pages(path: str, data: bytes) -> None:
    """Warn once if the file has several pages or frames (GIF, WebP, APNG, TIFF), of which the first is used."""
    animated = data[:4] == b"RIFF" and data[12:16] == b"VP8X" and data[20:21] > b"" and data[20] & 2
    if not (animated or is_animated_png(data) or data[:4] == b"GIF8" or is_tiff(data)):
        return
    try:
        with open_image(data) as img:
            pages = getattr(img, "n_frames", 1)
    except Exception:  # the decoder reports the error
        return
    if pages > 1:
        warn_once("pages", f"{path} contains {pages} pages or frames; the first one is used, also for other files")


def warn_of_low_range(path: str, image: np.ndarray) -> None:
    """Warn once about a 16-bit image with at most 12 bits used, which is nearly black when reduced to 8 bits."""
    if "range" not in _said and image.size and 0 < (top := int(image.max())) < 4096:
        warn_once(
            "range",
            f"{path} has 16 bits, but only values up to {top}: reduced to 8 bits they are 0..{top >> 8} of 255. "
            "If the data has 10 or 12 bits, scale it to 0..65535 when writing the files.",
        )
