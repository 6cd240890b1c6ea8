"""Image, video, label and depth files for tests, and content that must not be unpickled."""

import os
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from vislab.io.listing import is_image

_RNG = np.random.default_rng(0)


def write_image(path: Path, array: np.ndarray) -> None:
    """Writes an array as OpenCV does, BGR, and makes the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


def save_image(path: Path, image: np.ndarray | Image.Image, **options) -> str:
    """Writes an array (RGB) or an image with Pillow; returns the path."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(path, **options)
    return str(path)


def fill_folder(root: Path, *names: str) -> Path:
    """Puts small images at the names of images below a folder, and a text file at every other name."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_image(name):
            Image.new("L", (8, 8)).save(path, "PNG")
        else:
            path.write_text("no image")
    return root


def gradients(h: int = 40, w: int = 60) -> np.ndarray:
    """Returns a picture (h, w, 3) uint8 whose channels differ and have no symmetry."""
    y, x = np.mgrid[:h, :w]
    return np.stack([y * 255 // h, x * 255 // w, (x * y) % 256], axis=-1).astype(np.uint8)


def random_image(shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    """Returns noise (h, w, 3) uint8, another at each call."""
    return _RNG.integers(0, 256, (*shape, 3), np.uint8)


def random_depth(shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    """Returns millimeters (h, w) uint16, 500 to 9,000; the first three rows are 0, unknown."""
    depth = _RNG.integers(500, 9000, shape, np.uint16)
    depth[:3] = 0
    return depth


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = str(proof)

    def __reduce__(self):
        return os.mkdir, (self.proof,)


def write_film(path, frames, times=None, matrix=None):
    """Write frames to a video, at these times in units of 1/25 s, with this display matrix."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for i, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = (times[i] if times else i), Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if matrix:
        data = bytearray(path.read_bytes())
        at = data.find(b"tkhd") + 44
        data[at : at + 36] = struct.pack(">9i", *matrix)
        path.write_bytes(data)
    return path
