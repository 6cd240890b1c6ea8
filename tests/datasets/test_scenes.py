"""Test synthetic scenes: reproducibility, speed, consistent labels of all tasks."""

import time

import cv2
import numpy as np
import pytest

from tests.helpers.dataset_behavior import DatasetBehavior
from vislab.datasets.scenes import STUFF, THINGS, WALL_DEPTH, Scenes
from vislab.datasets.transforms import LoadImage
from vislab.structures import rotated_boxes as rb


class TestScenesBehavior(DatasetBehavior):
    loaders = (LoadImage,)

    def build(self, tmp_path, pipeline):
        return Scenes(length=5, size=(64, 80), pipeline=pipeline)


def _same(a: dict, b: dict) -> bool:
    return all(np.array_equal(a[k], b[k]) if isinstance(a[k], np.ndarray) else a[k] == b[k] for k in a)


def test_item_depends_on_seed_and_index_alone():
    a, b = Scenes(length=10, seed=3), Scenes(length=500, seed=3, cache=True)
    for _ in range(2):
        assert _same(a.get_data_info(7), b.get_data_info(7))
    assert not np.array_equal(a.get_data_info(7)["img"], Scenes(seed=4).get_data_info(7)["img"])
    assert not np.array_equal(a.get_data_info(7)["img"], a.get_data_info(8)["img"])


@pytest.mark.parametrize("index", range(25))
def test_labels_agree_with_each_other(index):
    scene = Scenes(length=25, size=(96, 128), num_objects=(0, 8)).get_data_info(index)
    masks, semantic, panoptic = scene["gt_masks"], scene["gt_sem_seg"], scene["gt_panoptic"]
    assert masks.sum(0).max(initial=0) <= 1  # visible parts do not overlap
    for k, (mask, label, box, rbox) in enumerate(
        zip(masks, scene["gt_labels"], scene["gt_bboxes"], scene["gt_rbboxes"], strict=True)
    ):
        inside = mask.astype(bool)
        assert (semantic[inside] == label).all() and (panoptic[inside] == k + 1).all()
        ys, xs = np.nonzero(inside)
        np.testing.assert_array_equal(box, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
        hull = rb.rboxes_to_hboxes(rbox)
        assert (hull[:2] <= box[:2] + 1.5).all() and (hull[2:] >= box[2:] - 1.5).all()
        assert np.unique(scene["gt_depth"][inside]).size == 1  # a flat object faces the camera
    for segment in scene["segments_info"]:
        pixels = panoptic == segment["id"]
        assert pixels.sum() == segment["area"] > 0 and (semantic[pixels] == segment["category"]).all()
    assert (panoptic > 0).all()
    things = [s for s in scene["segments_info"] if s["category"] < len(THINGS)]
    expected = max(things, key=lambda s: s["area"])["category"] if things else -1
    assert scene["label"] == expected
    assert scene["gt_depth"].min() > 1.0 and scene["gt_depth"].max() <= WALL_DEPTH


def test_rotated_box_of_a_whole_box_is_tight():
    scenes = Scenes(length=60, size=256, num_objects=(1, 1))
    checked = 0
    for i in range(60):
        scene = scenes.get_data_info(i)
        x1, y1, x2, y2 = scene["gt_bboxes"][0]
        if scene["gt_labels"][0] == 0 and min(x1, y1) > 1 and max(x2, y2) < 255:
            filled = scene["gt_masks"][0].sum() / np.prod(scene["gt_rbboxes"][0, 2:4])
            assert 0.85 < filled <= 1.02  # small ones are coarse
            checked += 1
    assert checked > 5


def test_occlusion_happens_and_everything_varies():
    scenes = Scenes(length=40, size=96, num_objects=(0, 6))
    records = [scenes.get_data_info(i) for i in range(40)]
    assert {len(r["gt_labels"]) for r in records} >= {0, 1, 2, 3, 4}
    assert {int(k) for r in records for k in r["gt_labels"]} == set(range(len(THINGS)))
    touching = 0
    for r in records:
        grown = [cv2.dilate(m, np.ones((3, 3), np.uint8)) for m in r["gt_masks"]]
        touching += any((a & b).any() for i, a in enumerate(grown) for b in grown[:i])
    assert touching > 5
    assert scenes.metainfo["classes"] == (*THINGS, *STUFF)


def test_drawing_is_fast():
    scenes = Scenes(length=50, size=128)
    scenes.get_data_info(0)
    start = time.process_time()
    for i in range(50):
        scenes.get_data_info(i)
    assert (time.process_time() - start) / 50 < 0.01


@pytest.mark.parametrize(
    "bad",
    [{"length": 0}, {"size": 8}, {"num_objects": (3, 1)}, {"object_length": (0, 1)}, {"aspect_ratio": (0.5, 0.4)},
     {"aspect_ratio": (0.5, 1.1)}],
)  # fmt: skip
def test_impossible_settings_are_refused(bad):
    with pytest.raises(ValueError, match=r"expected (length|0 < minimum)"):
        Scenes(**bad)


def test_object_length_and_aspect_ratio_shape_the_objects():
    def sizes(**shape) -> np.ndarray:
        scenes = Scenes(length=40, size=128, num_objects=(1, 1), **shape)
        return np.array([scenes.get_data_info(i)["gt_rbboxes"][0, 2:4] for i in range(40)])

    small, large = sizes(object_length=(0.3, 0.4)), sizes(object_length=(1.5, 2.0))
    assert np.median(large.max(1)) > 2.5 * np.median(small.max(1))
    slim, stout = sizes(aspect_ratio=(0.2, 0.3)), sizes(aspect_ratio=(0.9, 1.0))
    assert np.median(slim.min(1) / slim.max(1)) < 0.45 < 0.75 < np.median(stout.min(1) / stout.max(1))


def test_transforms_are_found_by_name_without_a_runner():
    steps = [{"type": "LoadImage"}, {"type": "RandomFlip", "prob": 1.0}, {"type": "PackInputs"}]
    assert Scenes(length=2, size=32, pipeline=steps)[0]["data_samples"].flip
