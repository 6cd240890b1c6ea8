"""Test checks of image files before decoding: truncated or damaged files, bit depth, pages."""

import io
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import gradients, save_image
from vislab.errors import DataError
from vislab.io import file_checks
from vislab.io.file_checks import (
    is_animated_png,
    is_jpeg,
    is_tiff,
    may_be_deep,
    open_image,
    refuse_damaged,
    refuse_wrong_checksums,
    small_gray_bits,
    warn_of_low_range,
    warn_of_pages,
    warn_once,
)
from vislab.io.images import read_rgb


def test_a_jpeg_cut_behind_the_thumbnail_in_its_header(tmp_path):
    """The thumbnail has an end mark of its own, and may be most of what is left of the file."""
    small = io.BytesIO()
    Image.fromarray(gradients(200, 240)).save(small, "JPEG", quality=95)
    exif = b"Exif\0\0" + small.getvalue()
    path = tmp_path / "a.jpg"
    save_image(path, gradients(), exif=exif, quality=90)
    data = path.read_bytes()
    assert read_rgb(str(path)).shape == (40, 60, 3)
    path.write_bytes(data[: len(exif) + 700])
    with pytest.raises(DataError, match="a.jpg cannot be decoded: it is truncated"):
        read_rgb(str(path))


def encoded(suffix: str, image: np.ndarray | None = None) -> bytes:
    return cv2.imencode(suffix, gradients() if image is None else image)[1].tobytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_cut_files_are_refused_and_whole_ones_pass(suffix):
    data = encoded(suffix)
    refuse_damaged("a", data)
    refuse_damaged("a", data + bytes(20))  # bytes behind the end are left alone
    for kept in (len(data) // 4, len(data) // 2, len(data) - 40):
        with pytest.raises(DataError, match=f"a cannot be decoded: it is truncated or damaged \\({kept} bytes"):
            refuse_damaged("a", data[:kept])
    refuse_damaged("a", encoded(".bmp")[:50])  # decoders tell it of other formats


def test_the_end_mark_may_be_far_from_the_end_in_a_jpeg_only():
    refuse_damaged("a", encoded(".jpg") + bytes(1 << 16))
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    refuse_damaged("a", encoded(".png", image) + bytes(1 << 13))  # Pillow is asked, and reads it


def png_chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """Name, start and end of the content of each chunk."""
    chunks, at = [], 8
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], at + 8, end))
        at = end + 4
    return chunks


def test_checksums_of_the_chunks_that_make_the_pixels(tmp_path):
    image = Image.fromarray(gradients()).quantize(16)
    data = Path(save_image(tmp_path / "a.png", image, dpi=(72, 72))).read_bytes()
    chunks = png_chunks(data)
    assert [name for name, *_ in chunks] == [b"IHDR", b"PLTE", b"pHYs", b"IDAT", b"IEND"]
    refuse_wrong_checksums("a.png", data)
    refuse_wrong_checksums("a.png", data + b"\0\0\0\1IDATx????")  # behind the end
    for name, start, _ in chunks[:4]:
        changed = data[: start + 1] + bytes([data[start + 1] ^ 1]) + data[start + 2 :]
        if name == b"pHYs":
            refuse_wrong_checksums("a.png", changed)
        else:
            with pytest.raises(DataError, match=f"a.png is damaged: its {name.decode()} chunk has a wrong checksum"):
                refuse_wrong_checksums("a.png", changed)


def test_a_damaged_frame_of_an_animation(tmp_path):
    first, second = Image.fromarray(gradients()), Image.fromarray(255 - gradients())
    data = Path(save_image(tmp_path / "a.png", first, save_all=True, append_images=[second])).read_bytes()
    assert is_animated_png(data) and not is_animated_png(encoded(".png"))
    refuse_damaged("a.png", data)
    (start,) = (start for name, start, _ in png_chunks(data) if name == b"fdAT")
    with pytest.raises(DataError, match="its fdAT chunk"):
        refuse_damaged("a.png", data[: start + 9] + bytes([data[start + 9] ^ 1]) + data[start + 10 :])


def test_depth_is_told_from_the_header():
    deep = np.full((4, 5), 300, np.uint16)
    for suffix, image, expected in (
        (".png", deep, True),
        (".png", deep.astype(np.uint8), False),
        (".tif", deep, True),
        (".pgm", deep, True),
        (".jpg", deep.astype(np.uint8), False),
        (".bmp", deep.astype(np.uint8), False),
    ):
        assert may_be_deep(encoded(suffix, image)) is expected
    assert is_tiff(encoded(".tif")) and is_tiff(b"MM\0+rest") and not is_tiff(b"MMxx")
    assert is_jpeg(encoded(".jpg")) and not is_jpeg(encoded(".png"))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("gray", [True, False])
def test_small_gray_pixels(tmp_path, bits, gray):
    """Palette images keep their numbers in any depth; gray ones of 2 and 4 bits come back stretched from Pillow."""
    data = encoded(".png", gradients()[..., 0])
    header = data[:24] + bytes([bits, 0 if gray else 3]) + data[26:]
    assert small_gray_bits(header) == (bits if gray and bits in (2, 4) else None)
    assert small_gray_bits(header[:20]) is None and small_gray_bits(b"\xff\xd8" + header[2:]) is None


def test_images_beyond_pillows_limit_are_opened(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with open_image(encoded(".png")) as image:
        assert image.size == (60, 40)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(file_checks, "MOST_PIXELS", 2399)
    with pytest.raises(ValueError, match="60 x 40 pixels; at most 2399"), open_image(encoded(".png")):
        pass
    assert Image.MAX_IMAGE_PIXELS == 1000


def test_each_kind_of_warning_comes_once(said, monkeypatch):
    for kind, text in (("a", "first"), ("a", "second"), ("b", "third")):
        warn_once(kind, text)
    assert said == ["first", "third"]
    monkeypatch.setattr(file_checks, "get_worker_info", lambda: SimpleNamespace(id=1))
    warn_once("c", "of another worker")
    warn_once("d", "of any worker", every_worker=True)
    assert said == ["first", "third", "of any worker"]


def test_pages_are_counted_and_the_range_of_16_bits_is_looked_at(said, tmp_path):
    first = Image.fromarray(gradients())
    for count, suffix in ((1, "tif"), (3, "tif"), (2, "webp")):
        said.clear(), file_checks._said.clear()
        options = {"lossless": True} if suffix == "webp" else {}
        others = [Image.fromarray(gradients() + np.uint8(i)) for i in range(1, count)]
        data = Path(
            save_image(tmp_path / f"a.{suffix}", first, save_all=True, append_images=others, **options)
        ).read_bytes()
        warn_of_pages("a", data)
        assert [text.partition(" pages")[0] for text in said] == ([f"a contains {count}"] if count > 1 else [])
    said.clear()
    warn_of_low_range("a", np.zeros((2, 2), np.uint16))  # a black picture tells nothing
    warn_of_low_range("a", np.full((2, 2), 4096, np.uint16))
    assert not said
    warn_of_low_range("a", np.array([[0, 1023]], np.uint16))
    assert "up to 1023: reduced to 8 bits they are 0..3 of 255" in said[0]
