"""Checks on the bytes of an image file: whether they are all there, their depth, and further pages.

Decoders fill what a file lacks with gray, show the first page of many, and reduce 16 bits to 8 without a word.
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
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"acTL", b"fcTL", b"fdAT")  # the chunks that make the pixels
MOST_PIXELS = 1 << 30
"""Larger images are refused, as OpenCV does; Pillow's own limit of 179 million pixels is met by aerial images."""

_said: set[str] = set()


def warn_once(kind: str, text: str, *, every_worker: bool = False) -> None:
    """Logs a warning once a process for each kind.

    Args:
        kind: Of several warnings of a kind only the first is logged.
        text: The warning.
        every_worker: Let all data-loader workers speak, for what is true of few samples; else only the first one does.
    """
    worker = get_worker_info()
    if kind not in _said and (every_worker or worker is None or worker.id == 0):
        logger.warning(text)
    _said.add(kind)


@contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """Opens an image with Pillow; up to MOST_PIXELS pixels instead of Pillow's own limit.

    Raises:
        ValueError: the image is larger.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(data)) as img:
            if img.width * img.height > MOST_PIXELS:
                raise ValueError(f"{img.width} x {img.height} pixels; at most {MOST_PIXELS} are read")
            yield img
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def refuse_damaged(path: str, data: bytes) -> None:
    """Refuses a JPEG or PNG file that was cut off. OpenCV and Pillow tell it for the other formats.

    A quick look for the end mark; Pillow is asked in doubt.

    Raises:
        DataError: the file is cut off.
    """
    if is_jpeg(data):
        # most files: the end mark at the end, and no thumbnail in the header, which has an end mark of its own
        simple = data.endswith(b"\xff\xd9") and data.find(b"\xff\xd8", 2) < 0
        whole = simple or data.rfind(b"\xff\xd9", _jpeg_scan(data)) >= 0
    elif data[:4] == _PNG[:4]:
        whole = data.find(b"IEND", -4096) >= 0 if len(data) > 4096 else b"IEND" in data
    else:
        return
    if whole:
        if is_animated_png(data):
            refuse_wrong_checksums(path, data)  # OpenCV looks at those of still images only
        return
    try:
        with open_image(data) as img:
            img.load()
    except Exception as error:  # Pillow's plugins raise struct.error, KeyError and others for broken headers
        raise DataError(
            f"{path} cannot be decoded: it is cut off or damaged ({len(data)} bytes: {error}). Fetch it again."
        ) from error


def _jpeg_scan(data: bytes) -> int:
    """Returns where the pixels of a JPEG begin, behind its header."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        # 0xFF may be repeated as filler; all markers before the scan carry their length
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def refuse_wrong_checksums(path: str, data: bytes) -> None:
    """Refuses a PNG file in which a chunk that matters differs from its checksum: decoders do not look at all of them.

    Raises:
        DataError: the file is damaged.
    """
    at, view = len(_PNG), memoryview(data)
    while data.startswith(_PNG) and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        stated = int.from_bytes(data[end : end + 4], "big")
        if kind in _PNG_PIXELS and zlib.crc32(view[at + 4 : end]) != stated:
            raise DataError(f"{path} is damaged: its {kind.decode()} chunk has a wrong checksum. Fetch it again.")
        if kind == b"IEND":
            return
        at = end + 4


def small_gray_bits(data: bytes) -> int | None:
    """Returns the bits of a pixel of a gray PNG of 2 or 4 bits, else None: Pillow stretches its values to 0..255."""
    return data[24] if data.startswith(_PNG) and len(data) > 25 and data[24] in (2, 4) and data[25] == 0 else None


def may_be_deep(data: bytes) -> bool:
    """Whether the file may hold 16 bits a channel: a PNG that says so, any TIFF or PNM."""
    if data.startswith(_PNG):
        return data[24:25] == b"\x10"
    return is_tiff(data) or data[:2] in (b"P2", b"P3", b"P5", b"P6")


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes are those of a JPEG file."""
    return data[:2] == b"\xff\xd8"


def is_animated_png(data: bytes) -> bool:
    """Whether the bytes are those of a PNG file with several frames."""
    return data.startswith(_PNG) and b"acTL" in data[:64]


def is_tiff(data: bytes) -> bool:
    """Whether the bytes are those of a TIFF file, of either byte order."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def warn_of_pages(path: str, data: bytes) -> None:
    """Warns once when the first of several pages or animation frames is taken (GIF, WebP, APNG, TIFF)."""
    animated = data[:4] == b"RIFF" and data[12:16] == b"VP8X" and data[20:21] > b"" and data[20] & 2
    if not (animated or is_animated_png(data) or data[:4] == b"GIF8" or is_tiff(data)):
        return
    try:
        with open_image(data) as img:
            pages = getattr(img, "n_frames", 1)
    except Exception:  # the decoder that follows says it better
        return
    if pages > 1:
        warn_once(
            "pages", f"{path} contains {pages} pages or frames; of this file and others like it the first is used"
        )


def warn_of_low_range(path: str, image: np.ndarray) -> None:
    """Warns once of a 16-bit picture that uses at most 12 of its bits: reduced to 8 bits it is nearly black."""
    if "range" not in _said and image.size and 0 < (top := int(image.max())) < 4096:
        warn_once(
            "range",
            f"{path} has 16 bits, of which only the values up to {top} are used: its levels are 0..{top >> 8} of 255. "
            "If the data have fewer bits (10 or 12), multiply them up to 65535 when the files are written.",
        )
