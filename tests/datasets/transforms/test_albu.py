"""Test the albumentations adapter: lazy import, invalid arguments, rotated boxes without masks, holes."""

import os
import subprocess
import sys

import numpy as np
import pytest

from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import Albu, LoadImage
from vislab.errors import ConfigError, DataError
from vislab.structures import rotated_boxes as rb


def _scene(i: int, size=(120, 140)) -> dict:
    return LoadImage()(Scenes(length=50, size=size, seed=2, num_objects=(1, 4)).get_data_info(i))


def test_albumentations_is_imported_late():
    code = "import sys, vislab.datasets.transforms; sys.exit('albumentations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_no_server_is_asked_for_a_newer_albumentations():
    code = (
        "import urllib.request as r; from vislab.datasets.transforms import Albu\n"
        "def no(*a, **k): raise SystemExit('asked')\n"
        "r.OpenerDirector.open = no; Albu(transforms=[{'name': 'HorizontalFlip'}])"
    )
    env = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_rotated_boxes_without_masks_follow_the_rotation():
    turn = Albu(transforms=[{"name": "Affine", "rotate": (30, 30), "p": 1}])
    checked = 0
    for i in range(30):
        with_masks, without = turn(_scene(i)), _scene(i)
        del without["gt_masks"]
        without = turn(without)
        place = {int(k): j for j, k in enumerate(without["gt_ids"])}
        h, w = with_masks["img"].shape[:2]
        for k, kind, fitted in zip(
            with_masks["gt_ids"], with_masks["gt_labels"], with_masks["gt_rbboxes"], strict=True
        ):
            hull = rb.rboxes_to_hboxes(fitted)
            if kind != 0 or hull.min() < 2 or hull[2] > w - 2 or hull[3] > h - 2 or fitted[3] < 12:
                continue  # other shapes have several smallest rectangles
            carried = without["gt_rbboxes"][place[int(k)]]
            assert abs(carried[:2] - fitted[:2]).max() < 2.5
            assert carried[2] * carried[3] == pytest.approx(fitted[2] * fitted[3], rel=0.15)
            np.testing.assert_allclose(without["gt_bboxes"][place[int(k)]], rb.rboxes_to_hboxes(carried), atol=1e-3)
            checked += 1
    assert checked >= 5


def test_turned_in_the_same_sense_as_the_image():
    """A box with a known angle: a clockwise turn on the screen makes it larger."""
    img = np.zeros((100, 100, 3), np.uint8)
    img[45:55, 20:80] = 255
    results = LoadImage()({"img": img, "gt_rbboxes": np.array([[50, 50, 60, 10, 0.0]], np.float32)})
    results = Albu(transforms=[{"name": "Affine", "rotate": (25, 25), "p": 1}])(results)
    np.testing.assert_allclose(results["gt_rbboxes"][0], rb.mask_to_rbox(results["img"][..., 0] > 127), atol=1.6)
    assert abs(results["gt_rbboxes"][0, 4]) == pytest.approx(np.radians(25), abs=0.02)


def test_holes_and_empty_label_sets():
    holes = {"name": "CoarseDropout", "num_holes_range": (6, 6), "hole_height_range": (0.1, 0.2), "p": 1}
    for i in range(5):
        results = _scene(i)
        del results["gt_masks"]
        before = {int(k): box for k, box in zip(results["gt_ids"], results["gt_rbboxes"], strict=True)}
        results = Albu(transforms=[holes])(results)
        for k, box in zip(results["gt_ids"], results["gt_rbboxes"], strict=True):
            assert box[2] * box[3] == pytest.approx(before[int(k)][2] * before[int(k)][3], rel=0.1, abs=20)


def test_depth_values_are_moved_not_scaled_and_ignore_survives():
    results = _scene(3)
    results["gt_sem_seg"][:40] = 255
    known = np.unique(results["gt_depth"])
    zoom = Albu(transforms=[{"name": "Affine", "scale": (0.5, 0.5), "p": 1}])
    results = zoom(results)
    assert np.isin(results["gt_depth"], np.append(known, 0)).all()
    assert results["gt_sem_seg"].dtype == np.uint8 and set(np.unique(results["gt_sem_seg"])) <= {0, 1, 2, 3, 4, 255}
    assert (results["gt_sem_seg"][results["gt_depth"] == 0] == 255).all()


def test_wide_labels_survive():
    results = _scene(0)
    results["gt_sem_seg"] = results["gt_sem_seg"].astype(np.int64) + 300
    results = Albu(transforms=[{"name": "HorizontalFlip", "p": 1}])(results)
    assert results["gt_sem_seg"].dtype == np.int64 and results["gt_sem_seg"].min() >= 300


def _labeled() -> dict:
    """A gray image with every kind of label: classes 3, 100 and 254, ignored pixels, two segments at 2.5 m."""
    h, w = 48, 60
    panoptic = np.zeros((h, w), np.int32)
    panoptic[8:30, 8:30], panoptic[24:44, 24:50] = 1, 2
    semantic = np.array([3, 100, 254], np.uint8)[panoptic]
    semantic[:4] = 255
    return {
        "img": np.full((h, w, 3), 100, np.uint8), "img_path": "x.png", "ori_shape": (h, w), "img_shape": (h, w),
        "scale_factor": (1.0, 1.0), "gt_sem_seg": semantic, "gt_panoptic": panoptic,
        "gt_depth": np.where(panoptic > 0, 2.5, 0).astype(np.float32),
        "gt_masks": np.stack([panoptic == 1, panoptic == 2]).astype(np.uint8), "gt_areas": np.array([400.0, 500.0]),
        "gt_bboxes": np.array([[8, 8, 30, 30], [24, 24, 50, 44]], np.float32), "gt_labels": np.array([0, 1]),
        "gt_ignore": np.zeros(2, bool), "gt_ids": np.arange(2),
        "segments_info": [{"id": i + 1, "category": i, "iscrowd": 0, "area": 1} for i in range(2)],
    }  # fmt: skip


AFFINE = {"name": "Affine", "rotate": (30, 30), "p": 1}


@pytest.mark.parametrize(
    "step",
    [
        {"name": "PadIfNeeded", "min_height": 70, "min_width": 80, "border_mode": 0, "fill_mask": 255},
        {**AFFINE, "fill_mask": [255]},
        {"name": "CoarseDropout", "fill_mask": 255, "p": 1},
        {"name": "PixelDropout", "dropout_prob": 0.3, "mask_drop_value": 255, "p": 1},
        {"name": "OneOf", "p": 1, "transforms": [{**AFFINE, "fill_mask": 255, "mask_interpolation": 0}]},
        {"name": "OneOrOther", "p": 1, "first": {**AFFINE, "fill_mask": 255}, "second": {"name": "D4", "p": 1}},
        {"name": "Compose", "transforms": [{"name": "RandomResizedCrop", "size": (40, 40), "p": 1}, {**AFFINE}]},
    ],
)
def test_labels_keep_their_coding(step):
    before, after = _labeled(), Albu(transforms=[step])(_labeled())
    for key in ("gt_sem_seg", "gt_panoptic", "gt_depth", "gt_masks"):
        known = set(np.unique(before[key]).tolist()) | {255 if key == "gt_sem_seg" else 0}
        assert set(np.unique(after[key]).tolist()) <= known, key
        assert after[key].shape[-2:] == after["img"].shape[:2] and after[key].dtype == before[key].dtype
    filled = np.count_nonzero(after["gt_sem_seg"] == 255) / after["gt_sem_seg"].size
    assert filled > np.count_nonzero(before["gt_sem_seg"] == 255) / before["gt_sem_seg"].size or "Compose" in str(step)


def _as_float(img, **params):
    return img / np.float32(255)


def test_what_only_a_sample_shows():
    with pytest.raises(ConfigError, match=r"Albu \(Lambda\) changes the image to float32"):
        Albu(transforms=[{"name": "Lambda", "image": _as_float, "p": 1}])(_labeled())
    with pytest.raises(DataError, match=r"Albu \(RandomCrop\) fails on x.png, 48x60"):
        Albu(transforms=[{"name": "RandomCrop", "height": 99, "width": 99}])(_labeled())
    swell = Albu(transforms=[{"name": "OneOf", "transforms": [{"name": "Morphological", "p": 1}], "p": 1}])
    with pytest.raises(ConfigError, match="Morphological computes maxima.*gt_panoptic"):
        swell(_labeled())
    assert swell({key: _labeled()[key] for key in ("img", "img_path")})["img"].shape == (48, 60, 3)


def test_areas_of_the_file_stay_while_the_frame_does():
    assert Albu(transforms=[{"name": "GaussianBlur", "p": 1}])(_labeled())["gt_areas"].tolist() == [400, 500]
    assert "gt_areas" not in Albu(transforms=[AFFINE])(_labeled())
