"""Fuzz images, label files and videos: each raises a DataError with the file name or has the correct pixels.
No other exception is raised. VISLAB_FUZZ sets the number of files (default 300):

    VISLAB_FUZZ=3000 python -m pytest -m slow tests/fuzz/test_media_files.py
"""

import io
import os
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from vislab.datasets.transforms import LoadDepth, LoadImage, LoadPanoptic, LoadSemSeg
from vislab.datasets.video_frames import VideoFrames
from vislab.errors import DataError
from vislab.io.images import read_indices, read_raw, read_rgb
from vislab.io.video import read_frames

pytestmark = pytest.mark.slow
COUNT = int(os.environ.get("VISLAB_FUZZ", "300"))
H, W, FRAMES = 40, 56, 10


def pixels() -> np.ndarray:
    y, x = np.mgrid[:H, :W]
    return np.stack([y * 6, x * 4, (x * y) % 256], -1).astype(np.uint8)


def pillow(fmt: str, mode: str = "RGB", pages: int = 1, **options) -> bytes:
    image = Image.fromarray(pixels())
    if mode in ("LA", "RGBA"):
        image = image.convert(mode[:-1])
        image.putalpha(Image.fromarray(pixels()[..., 2]))
    elif mode != "RGB":
        image = image.convert(mode)
    if pages > 1:
        options |= {"save_all": True, "append_images": [image.rotate(90)] * (pages - 1)}
    target = io.BytesIO()
    image.save(target, fmt, **options)
    return target.getvalue()


def sixteen(suffix: str) -> bytes:
    return cv2.imencode(suffix, pixels()[..., 2].astype(np.uint16) * 257)[1].tobytes()


def numpy_file(values: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, values)
    return target.getvalue()


IMAGES: dict[str, bytes] = {
    "a.jpg": pillow("JPEG"),
    "progressive.jpg": pillow("JPEG", progressive=True),
    "cmyk.jpg": pillow("JPEG", "CMYK"),
    "gray.jpg": pillow("JPEG", "L"),
    "a.png": pillow("PNG"),
    "rgba.png": pillow("PNG", "RGBA"),
    "la.png": pillow("PNG", "LA"),
    "labels.png": pillow("PNG", "L"),
    "palette.png": pillow("PNG", "P"),
    "bits.png": pillow("PNG", "1"),
    "deep.png": sixteen(".png"),
    "moving.png": pillow("PNG", pages=3),
    "a.bmp": pillow("BMP"),
    "a.webp": pillow("WEBP", lossless=True),
    "moving.webp": pillow("WEBP", pages=3),
    "moving.gif": pillow("GIF", "P", pages=3),
    "a.tif": pillow("TIFF"),
    "lzw.tif": pillow("TIFF", compression="tiff_lzw"),
    "alpha.tif": pillow("TIFF", "RGBA"),
    "pages.tif": pillow("TIFF", pages=3),
    "deep.tif": sixteen(".tif"),
    "float.tif": cv2.imencode(".tif", pixels()[..., 2].astype(np.float32))[1].tobytes(),
    "a.ppm": pillow("PPM"),
    "a.npy": numpy_file(pixels()[..., 2].astype(np.float32)),
}
CHECKSUMMED = (".png",)  # a flipped bit in the pixels of these is found; in others it gives other pixels

READERS: dict[str, Callable[[str], np.ndarray]] = {
    "read_rgb": read_rgb,
    "read_raw": read_raw,
    "read_indices": read_indices,
    "LoadImage": lambda path: LoadImage()({"img_path": path})["img"],
    "LoadSemSeg": lambda path: LoadSemSeg()({"seg_map_path": path})["gt_sem_seg"],
    "LoadDepth": lambda path: LoadDepth(scale=0.1)({"depth_path": path})["gt_depth"],
    "LoadPanoptic": lambda path: LoadPanoptic()({"panoptic_path": path, "segments_info": []})["gt_panoptic"],
}


def video(suffix: str, codec: str, **options: str) -> bytes:
    path = Path(os.environ.get("TMPDIR", "/tmp"), f"vislab_fuzz_{os.getpid()}.{suffix}")
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = H, W
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        stream.codec_context.gop_size = 4
        for k in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.roll(pixels(), 5 * k, axis=1), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.unlink()
    return data


CODECS = {"mpeg4": ("mp4", "mkv", "avi", "ts", "mov"), "libx264": ("mp4", "mkv", "ts", "mov", "flv"),
          "libvpx-vp9": ("webm", "mkv", "mp4"), "mjpeg": ("avi", "mov", "mkv"), "gif": ("gif",)}  # fmt: skip
VIDEOS = [(f"{codec}.{suffix}", codec, suffix) for codec, suffixes in CODECS.items() for suffix in suffixes]


def cut(data: bytes, draw: random.Random, other: bytes) -> bytes:
    return data[: draw.randrange(len(data))]


def flip(data: bytes, draw: random.Random, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 4, 40))):
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def in_the_header(data: bytes, draw: random.Random, other: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 3))):
        changed[draw.randrange(min(len(data), 200))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    return bytes(changed)


def hole(data: bytes, draw: random.Random, other: bytes) -> bytes:
    start = draw.randrange(len(data))
    return data[:start] + data[start + draw.randrange(1, 64) :]


def zeros(data: bytes, draw: random.Random, other: bytes) -> bytes:
    start, length = draw.randrange(len(data)), draw.randrange(1, 256)
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def another_file(data: bytes, draw: random.Random, other: bytes) -> bytes:
    return draw.choice((other, b"", b"\0" * 64, b"<html>404</html>", data[:20] + other[20:], other[:100] + data))


MUTATIONS = (cut, flip, in_the_header, hole, zeros, another_file)


@pytest.mark.parametrize("part", range(10))
def test_images_and_labels(tmp_path, part):
    whole = {}
    for name, data in IMAGES.items():
        (tmp_path / name).write_bytes(data)
        for reader, read in READERS.items():
            try:
                whole[name, reader] = read(str(tmp_path / name))
            except DataError:
                whole[name, reader] = None
    draw = random.Random(part)
    for _ in range(COUNT // 20):
        name, other = draw.choice(list(IMAGES)), draw.choice(list(IMAGES))
        mutate = draw.choice(MUTATIONS)
        path = tmp_path / f"bad_{name}"
        path.write_bytes(mutate(IMAGES[name], draw, IMAGES[other]))
        for reader, read in READERS.items():
            try:
                got = read(str(path))
            except DataError as error:
                assert f"bad_{name}" in str(error), (name, reader, mutate.__name__, str(error))
                continue
            expected = whole[name, reader]
            if mutate is cut and not name.endswith(".npy"):
                assert np.array_equal(got, expected), (name, reader, "a cut file was taken as whole")
            if mutate is flip and name.endswith(CHECKSUMMED) and reader != "read_raw":
                assert np.array_equal(got, expected), (name, reader, "a damaged file was taken as whole")


@pytest.mark.parametrize(("name", "codec", "suffix"), VIDEOS, ids=[name for name, *_ in VIDEOS])
def test_videos(tmp_path, name, codec, suffix):
    data = video(suffix, codec)
    other = IMAGES["a.jpg"]
    (tmp_path / name).write_bytes(data)
    whole = list(read_frames(tmp_path / name))
    assert len(whole) == FRAMES and all(frame.pixels.shape == (H, W, 3) for frame in whole)
    draw = random.Random(name)
    path = tmp_path / f"bad_{name}"
    for _ in range(max(2, COUNT // 2 // len(VIDEOS))):
        mutate = draw.choice(MUTATIONS)
        path.write_bytes(mutate(data, draw, other))
        try:
            frames = list(read_frames(path))
        except DataError as error:
            assert path.name in str(error)
            continue
        assert frames and all(frame.pixels.dtype == np.uint8 for frame in frames)
        if mutate is cut and len(frames) < FRAMES:
            at_a_border = suffix in ("ts", "flv") or len(path.read_bytes()) % 188 == 0
            assert at_a_border, (name, len(frames), "a cut file was taken as whole")
        try:
            VideoFrames(source=str(path))
        except DataError as error:  # a change of size in mid-stream
            assert path.name in str(error)
