"""Test image and label files: pixels equal to Pillow's, or one error with the file name."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import gradients, save_image
from vislab.datasets.transforms import LoadDepth, LoadSemSeg, PackInputs, PanopticToSemSeg
from vislab.errors import DataError
from vislab.io import file_checks
from vislab.io.images import exif_orientation, read_bytes, read_indices, read_raw, read_rgb, read_size


def gray_png(path, values, bits) -> str:
    """A gray PNG of 1, 2, 4 or 8 bits a pixel, written by hand: Pillow only writes some."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes() for row in values]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))
    return str(path)


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "LA", "RGBA", "CMYK"])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_every_mode_gives_the_colors_that_pillow_gives(tmp_path, mode, suffix):
    image = Image.fromarray(gradients())
    if mode in ("LA", "RGBA"):
        image = image.convert(mode[:-1])
        image.putalpha(Image.fromarray(gradients()[..., 1]))
    elif mode != "RGB":
        image = image.convert(mode)
    options = {"lossless": True, "exact": True} if suffix == "webp" else {}
    try:
        image.save(tmp_path / f"a.{suffix}", **options)
    except OSError:
        pytest.skip(f"{suffix} has no mode {mode}")
    with Image.open(tmp_path / f"a.{suffix}") as back:
        expected = np.asarray(back.convert("RGBA" if mode in ("LA", "RGBA") else "RGB"))[..., :3]
    np.testing.assert_array_equal(read_rgb(str(tmp_path / f"a.{suffix}")), expected)


TURNS = {  # by EXIF orientation
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_exif_orientation_of_a_tiff(tmp_path, orientation, mode):
    path = save_image(tmp_path / "a.tif", Image.fromarray(gradients()).convert(mode), tiffinfo={274: orientation})
    np.testing.assert_array_equal(read_rgb(path), TURNS[orientation](gradients()))
    assert exif_orientation(read_bytes(path)) == orientation


@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_twelve_bits_in_sixteen_are_said(tmp_path, said, suffix):
    values = np.random.default_rng(0).integers(0, 65536, (40, 60, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"full{suffix}"), values)
    np.testing.assert_array_equal(read_rgb(str(tmp_path / f"full{suffix}")), (values >> 8)[..., ::-1])
    assert not said
    cv2.imwrite(str(tmp_path / f"dark{suffix}"), values >> 4)
    read_rgb(str(tmp_path / f"dark{suffix}"))
    assert "dark" in said[0] and "only values up to 4095" in said[0]


def test_the_first_of_several_pages_is_taken_and_said(tmp_path, said):
    first, second = Image.fromarray(gradients()), Image.fromarray(255 - gradients())
    for suffix in ("tif", "webp", "png", "gif"):
        said.clear()
        file_checks._said.clear()
        options = {"lossless": True} if suffix == "webp" else {}
        frames = [i.quantize(16) for i in (first, second)] if suffix == "gif" else [first, second]
        path = save_image(tmp_path / f"a.{suffix}", frames[0], save_all=True, append_images=frames[1:], **options)
        np.testing.assert_array_equal(read_rgb(path), np.asarray(frames[0].convert("RGB")))
        assert "contains 2 pages or frames" in said[0]
    save_image(tmp_path / "one.gif", first.quantize(16))
    save_image(tmp_path / "one.tif", first)
    file_checks._said.clear()
    said.clear()
    read_rgb(str(tmp_path / "one.gif")), read_rgb(str(tmp_path / "one.tif"))
    assert not said


def test_floats_are_no_picture(tmp_path):
    for name, values in (("a.tif", gradients().astype(np.float32)), ("b.tif", gradients()[..., 0].astype(np.float32))):
        cv2.imwrite(str(tmp_path / name), values)
        with pytest.raises(DataError, match=name):
            read_rgb(str(tmp_path / name))


def test_names_that_no_file_can_have():
    for path in ("a\0.png", "x" * 5000 + ".png"):
        with pytest.raises(DataError, match="cannot read"):
            read_rgb(path)


# --- label images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_labels_of_few_bits_are_not_stretched(tmp_path, bits):
    values = (np.arange(2400).reshape(40, 60) % min(2**bits, 200)).astype(np.uint8)
    np.testing.assert_array_equal(read_indices(gray_png(tmp_path / "gray.png", values, bits)), values)
    image = Image.fromarray(values, "P")
    image.putpalette(list(range(256)) * 3)
    np.testing.assert_array_equal(read_indices(save_image(tmp_path / "palette.png", image, bits=bits)), values)


def test_labels_beyond_pillows_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # 2,400 pixels are more than twice that: an error of Pillow's
    labels = gradients()[..., 2]
    np.testing.assert_array_equal(read_indices(save_image(tmp_path / "a.png", labels)), labels)
    assert Image.MAX_IMAGE_PIXELS == 1000
    monkeypatch.setattr(file_checks, "MOST_PIXELS", 2000)
    with pytest.raises(DataError, match="a.png .*60 x 40 pixels; at most 2000"):
        read_indices(str(tmp_path / "a.png"))


def test_a_flipped_bit_in_a_label_image_is_found(tmp_path):
    path = tmp_path / "a.png"
    save_image(path, np.random.default_rng(0).integers(0, 9, (40, 60), dtype=np.uint8))
    data = path.read_bytes()
    for at in range(16, len(data) - 20, 41):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(DataError, match="a.png"):
            read_indices(str(path))


def test_labels_with_colors_or_alpha_or_in_jpeg(tmp_path, said):
    for mode in ("RGB", "LA", "RGBA"):
        path = save_image(tmp_path / f"{mode}.png", Image.fromarray(gradients()).convert(mode))
        with pytest.raises(DataError, match=f"has mode {mode}"):
            read_indices(path)
    read_indices(save_image(tmp_path / "a.jpg", gradients()[..., 0]))
    assert "JPEG compression changes class indices" in said[0]


def labels_of(tmp_path, values, load, **record) -> dict:
    return load({"seg_map_path": save_image(tmp_path / "l.png", values), **record})


def test_masks_of_0_and_255_are_said_once(tmp_path, said):
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 255
    load = LoadSemSeg(num_classes=2)
    labels_of(tmp_path, np.zeros((8, 8), np.uint8), load)  # an image without the object tells nothing
    assert not said
    labels_of(tmp_path, mask, load)
    assert "contains only the values 0 and 255" in said[0] and "25% of it" in said[0] and "255: 1}" in said[0]
    labels_of(tmp_path, mask, load)
    assert len(said) == 1


def test_masks_of_0_and_255_that_are_understood(tmp_path, said):
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6, 2:6] = 255
    for label_map in ({0: 0, 255: 1}, {255: 0, 0: 1}):
        found = labels_of(tmp_path, mask, LoadSemSeg(), seg_label_map=label_map)["gt_sem_seg"]
        assert found[0, 0] == label_map[0] and found[3, 3] == label_map[255]
    labels_of(tmp_path, mask, LoadSemSeg(num_classes=21))  # an image of background with ignored borders
    with_object = mask.copy()
    with_object[0] = 1
    load = LoadSemSeg(num_classes=2)
    labels_of(tmp_path, with_object, load)  # after this the set is known to have class 1
    labels_of(tmp_path, mask, load)
    assert not said


def test_more_than_255_classes_are_refused(tmp_path):
    for make in (
        lambda: LoadSemSeg(num_classes=256),
        lambda: LoadSemSeg(label_map={7: 300}),
        lambda: labels_of(tmp_path, np.zeros((2, 2), np.uint8), LoadSemSeg(), seg_label_map={0: 0, 7: 256}),
        lambda: PanopticToSemSeg()({"segments_info": [{"id": 1, "category": 260}]}),
    ):
        with pytest.raises(DataError, match="at most 255"):
            make()
    LoadSemSeg(num_classes=255, label_map={0: 255, 1: 254})
    for label_map in ({70000: 1}, {-1: 0}, {0: -1}):
        with pytest.raises(DataError, match="label_map has "):
            LoadSemSeg(label_map=label_map)
        with pytest.raises(DataError, match="label_map has "):
            labels_of(tmp_path, np.zeros((2, 2), np.uint8), LoadSemSeg(), seg_label_map=label_map)
    for wrong in (np.full((4, 4), 299, np.uint16), np.full((4, 4), -1, np.int64)):
        results = {"img": np.zeros((4, 4, 3), np.uint8), "gt_sem_seg": wrong}
        with pytest.raises(DataError, match=r"gt_sem_seg contains (299..299|-1..-1)"):
            PackInputs()(results)
    results["gt_sem_seg"] = np.full((4, 4), 255, np.int64)
    assert PackInputs()(results)["data_samples"].gt_sem_seg.data.unique().tolist() == [255]


# --- depth ----------------------------------------------------------------------------------------------------------


def depth_of(tmp_path, name, values, **settings) -> np.ndarray:
    path = tmp_path / name
    np.save(path, values) if name.endswith("npy") else cv2.imwrite(str(path), values)
    return LoadDepth(**settings)({"depth_path": str(path), "ori_shape": (20, 30)})["gt_depth"]


def test_eight_bits_are_no_millimeters(tmp_path, said):
    values = np.linspace(1, 255, 600).reshape(20, 30).astype(np.uint8)
    with pytest.raises(DataError, match="a.png has 8 bits.*10 / 255"):
        depth_of(tmp_path, "a.png", values)
    with pytest.raises(DataError, match="a.npy has 8 bits"):
        depth_of(tmp_path, "a.npy", values)
    np.testing.assert_allclose(depth_of(tmp_path, "a.png", values, scale=10 / 255), values * np.float32(10 / 255))
    assert not said


@pytest.mark.parametrize(
    ("values", "scale"), [(np.full((20, 30), 2.0), 0.001), (np.full((20, 30), 2500, np.uint16), 1.0)]
)
def test_depths_that_no_room_has_are_said(tmp_path, said, values, scale):
    depth_of(tmp_path, "a.npy", values, scale=scale)
    assert "a.npy: with scale=" in said[0] and "0.001 for millimeters" in said[0]


def test_usual_depths_are_taken_without_a_word(tmp_path, said):
    expected = np.full((20, 30), 2, np.float32)
    for values, scale in ((expected, 1.0), (expected * 1000, 0.001), (expected.astype(np.float16), 1.0)):
        np.testing.assert_allclose(depth_of(tmp_path, "a.npy", values, scale=scale), expected)
        for shaped in (values[None], values[..., None]):
            np.testing.assert_allclose(depth_of(tmp_path, "a.npy", shaped, scale=scale), expected)
    np.testing.assert_allclose(depth_of(tmp_path, "a.png", np.full((20, 30), 2000, np.uint16)), expected)
    cv2.imwrite(str(tmp_path / "a.tif"), expected)
    np.testing.assert_allclose(LoadDepth(scale=1.0)({"depth_path": str(tmp_path / "a.tif")})["gt_depth"], expected)
    assert not said


@pytest.mark.parametrize(
    "values",
    [np.ones(600), np.ones((2, 3, 20, 30)), np.float64(3), np.ones((20, 30), bool), np.full((20, 30), "2"),
     np.ones((20, 30), complex), np.array([{}], dtype=object)],
    ids=["1-D", "4-D", "scalar", "bool", "text", "complex", "object"],
)  # fmt: skip
def test_arrays_that_are_no_depth_map(tmp_path, values):
    with pytest.raises(DataError, match="a.npy"):
        depth_of(tmp_path, "a.npy", values, scale=1.0)


def test_broken_array_files(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((20, 30)))
    data = path.read_bytes()
    for broken in (data[:50], data[:-9], b"\x93NUMPY" + bytes(20), data.replace(b"(20, 30)", b"(20, 3 ")):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="a.npy is not a NumPy array file"):
            read_raw(str(path))
    np.savez(tmp_path / "z.npz", depth=np.ones((20, 30)))
    with pytest.raises(DataError, match="z.npz is an .npz archive"):
        read_raw(str(tmp_path / "z.npz"))
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(100))
    with pytest.raises(DataError, match="a.exr .*OPENCV_IO_ENABLE_OPENEXR=1"):
        read_raw(str(tmp_path / "a.exr"))


@pytest.mark.parametrize("orientation, size", [(1, (40, 60)), (3, (40, 60)), (6, (60, 40)), (9, (40, 60))])
def test_the_size_is_that_of_the_image_as_read(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x112] = orientation
    path = save_image(tmp_path / "a.jpg", gradients(), exif=exif)
    assert read_size(path) == size == read_rgb(path).shape[:2]


def test_the_size_of_what_is_no_image(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="a.jpg is not an image"):
        read_size(str(tmp_path / "a.jpg"))
    with pytest.raises(DataError, match="cannot read"):
        read_size(str(tmp_path / "b.jpg"))
