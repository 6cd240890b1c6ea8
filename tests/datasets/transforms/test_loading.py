"""Test loading transforms: values equal to the files, and errors with file names."""

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.helpers.files import gradients, save_image
from vislab.datasets.transforms import LoadDepth, LoadImage, LoadPanoptic, LoadSemSeg
from vislab.errors import DataError


def _load(path) -> dict:
    return LoadImage()({"img_path": str(path)})


# --- images ---------------------------------------------------------------------------------------------------------


def test_image_is_rgb_with_its_shapes(tmp_path):
    results = _load(save_image(tmp_path / "a.png", gradients()))
    np.testing.assert_array_equal(results["img"], gradients())
    assert results["ori_shape"] == results["img_shape"] == (40, 60) and results["scale_factor"] == (1.0, 1.0)


def test_exif_orientation_is_followed(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # turn clockwise to view
    results = _load(save_image(tmp_path / "a.jpg", gradients(), exif=exif, quality=95, subsampling=0))
    assert results["img"].shape == (60, 40, 3)
    assert np.abs(results["img"].astype(int) - np.rot90(gradients(), -1)).mean() < 6


def test_gray_alpha_and_sixteen_bits_become_rgb(tmp_path):
    gray = gradients()[..., 0]
    np.testing.assert_array_equal(_load(save_image(tmp_path / "g.png", gray))["img"], np.repeat(gray[..., None], 3, 2))
    rgba = np.dstack([gradients(), np.full((40, 60), 77, np.uint8)])
    np.testing.assert_array_equal(_load(save_image(tmp_path / "a.png", rgba))["img"], gradients())
    cv2.imwrite(str(tmp_path / "s.png"), gray.astype(np.uint16) * 257)
    deep = _load(tmp_path / "s.png")["img"]
    assert deep.dtype == np.uint8 and np.abs(deep[..., 0].astype(int) - gray).max() <= 1


def test_palette_image_gives_colors(tmp_path):
    Image.fromarray(gradients()).quantize(16).save(tmp_path / "p.png")
    assert _load(tmp_path / "p.png")["img"].shape == (40, 60, 3)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut_jpg", "cut_png", "folder"])
def test_bad_image_files_are_named(tmp_path, kind):
    path = tmp_path / ("bad.png" if kind == "cut_png" else "bad.jpg")
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("<html>404</html>")
    elif kind == "folder":
        path.mkdir()
    elif kind.startswith("cut"):
        noise = np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8)
        save_image(path, noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="bad"):
        _load(path)


def test_jpeg_with_foreign_bytes_behind_it_is_fine(tmp_path):
    path = tmp_path / "a.jpg"
    save_image(path, gradients())
    path.write_bytes(path.read_bytes() + bytes(5000))
    assert _load(path)["img"].shape == (40, 60, 3)


def test_small_images_are_refused_when_asked(tmp_path):
    with pytest.raises(DataError, match="a.png is 40x60 .* minimum side is 64"):
        LoadImage(min_size=64)({"img_path": save_image(tmp_path / "a.png", gradients())})


def test_arrays_in_the_record_are_taken():
    assert LoadImage()({"img": gradients()})["ori_shape"] == (40, 60)
    with pytest.raises(DataError, match="float64"):
        LoadImage()({"img": gradients().astype(float)})


# --- maps -----------------------------------------------------------------------------------------------------------


def _labels() -> np.ndarray:
    labels = (np.arange(2400).reshape(40, 60) // 600).astype(np.uint8)  # 0..3
    labels[0, 0] = 255
    return labels


def test_semantic_labels_from_gray_and_palette_files(tmp_path):
    img = Image.fromarray(_labels())
    img.save(tmp_path / "l.png")
    img.putpalette(np.random.default_rng(0).integers(0, 255, 768, dtype=np.uint8).tolist())
    img.save(tmp_path / "p.png")
    assert Image.open(tmp_path / "p.png").mode == "P"
    for name in ("l.png", "p.png"):
        results = LoadSemSeg(num_classes=4)({"seg_map_path": str(tmp_path / name), "ori_shape": (40, 60)})
        np.testing.assert_array_equal(results["gt_sem_seg"], _labels())


def test_zero_label_is_reduced_once_and_labels_are_mapped(tmp_path):
    path = save_image(tmp_path / "l.png", _labels())
    reduced = LoadSemSeg(reduce_zero_label=True)({"seg_map_path": path})["gt_sem_seg"]
    assert reduced[0, 0] == 255 and reduced[0, 1] == 255 and reduced[-1, -1] == 2
    mapped = LoadSemSeg(label_map={0: 7, 3: 0})({"seg_map_path": path})["gt_sem_seg"]
    assert mapped[0, 1] == 7 and mapped[-1, -1] == 0 and mapped[15, 0] == 255
    with pytest.raises(ValueError, match="use only one of them"):
        LoadSemSeg(reduce_zero_label=True, label_map={0: 1})


def test_wrong_semantic_files_are_named(tmp_path):
    with pytest.raises(DataError, match="contains class 3 .*expected 0..2"):
        LoadSemSeg(num_classes=3)({"seg_map_path": save_image(tmp_path / "l.png", _labels())})
    with pytest.raises(DataError, match="c.png has mode RGB"):
        LoadSemSeg()({"seg_map_path": save_image(tmp_path / "c.png", gradients())})
    with pytest.raises(DataError, match="l.png is 40x60"):
        LoadSemSeg()({"seg_map_path": str(tmp_path / "l.png"), "ori_shape": (41, 60)})
    with pytest.raises(DataError, match="no seg_map_path"):
        LoadSemSeg()({"img_path": "x.jpg"})


def _panoptic(tmp_path, ids: np.ndarray) -> str:
    return save_image(tmp_path / "pan.png", np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8))


def test_panoptic_ids_become_small_and_keep_their_segments(tmp_path):
    ids = np.zeros((40, 60), np.int64)
    ids[10:] = 5987177
    ids[:, 40:] = 300
    segments = [{"id": 5987177, "category": 4, "iscrowd": 0}, {"id": 300, "category": 1, "iscrowd": 1}]
    results = LoadPanoptic()({"panoptic_path": _panoptic(tmp_path, ids), "segments_info": segments})
    np.testing.assert_array_equal(results["gt_panoptic"], np.where(ids == 300, 2, np.where(ids > 0, 1, 0)))
    assert [(s["id"], s["file_id"], s["category"]) for s in results["segments_info"]] == [(1, 5987177, 4), (2, 300, 1)]


def test_panoptic_id_outside_the_annotation_is_refused(tmp_path):
    ids = np.full((40, 60), 70000)
    with pytest.raises(DataError, match="pan.png contains segment id 70000"):
        LoadPanoptic()({"panoptic_path": _panoptic(tmp_path, ids), "segments_info": [{"id": 9, "category": 0}]})
    with pytest.raises(DataError, match="8-bit RGB"):
        LoadPanoptic()({"panoptic_path": save_image(tmp_path / "g.png", _labels()), "segments_info": []})


def test_all_void_panoptic(tmp_path):
    results = LoadPanoptic()({"panoptic_path": _panoptic(tmp_path, np.zeros((4, 5), int)), "segments_info": []})
    assert not results["gt_panoptic"].any()


def test_depth_scale_invalid_values_and_limit(tmp_path):
    raw = np.array([[0, 1000, 65535], [2500, 9000, 500]], np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), raw)
    load = LoadDepth(scale=0.001, invalid=(0, 65535), max_depth=8.0)
    results = load({"depth_path": str(tmp_path / "d.png"), "ori_shape": (2, 3)})
    assert results["gt_depth"].dtype == np.float32
    np.testing.assert_allclose(results["gt_depth"], [[0, 1, 0], [2.5, 0, 0.5]])
    np.save(tmp_path / "d.npy", np.array([[1.5, np.nan, -1, np.inf]], np.float32))
    results = LoadDepth(scale=1.0)({"depth_path": str(tmp_path / "d.npy")})
    np.testing.assert_allclose(results["gt_depth"], [[1.5, 0, 0, 0]])


def test_wrong_depth_files_are_named(tmp_path):
    with pytest.raises(DataError, match="c.png has 3 channels"):
        LoadDepth()({"depth_path": save_image(tmp_path / "c.png", gradients())})
    with pytest.raises(DataError, match="d.png is 40x60"):
        LoadDepth()({"depth_path": save_image(tmp_path / "d.png", _labels()), "ori_shape": (480, 640)})
