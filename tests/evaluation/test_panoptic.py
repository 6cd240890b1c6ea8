"""Test panoptic quality against a direct implementation and panopticapi (peer), edge cases, merging."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData

from vislab.errors import ConfigError, DataError
from vislab.evaluation.panoptic import PanopticMetric, panoptic_quality, panoptic_statistics
from vislab.structures import DataSample

CLASSES = 6


def random_map(rng, segments: int, size=(24, 30), void=True, ids=None) -> tuple[np.ndarray, list[dict]]:
    """Rectangles over each other; ids up to 2**24, of any order."""
    out = np.zeros(size, np.int64)
    numbers = rng.choice(np.arange(1, 1 << 24), segments, replace=False) if ids is None else ids
    if not void:
        out[:] = numbers[0]
    for number in numbers:
        y, x = rng.integers(0, size[0]), rng.integers(0, size[1])
        out[y : y + rng.integers(3, 18), x : x + rng.integers(3, 22)] = number
    present = [int(n) for n in numbers if (out == n).any()]
    return out, [{"id": n, "category": int(rng.integers(0, CLASSES)), "iscrowd": 0} for n in present]


def random_pair(seed: int):
    rng = np.random.default_rng(seed)
    label, label_segments = random_map(rng, int(rng.integers(0, 9)))
    for segment in label_segments:
        segment["iscrowd"] = int(rng.random() < 0.25)
    prediction = label.copy()
    # a prediction near the label: moved, cut and repainted
    prediction = np.roll(prediction, rng.integers(-3, 4, 2), (0, 1))
    other, _ = random_map(rng, int(rng.integers(0, 4)), ids=rng.choice(np.arange(1, 999), 3, replace=False)[:3])
    prediction = np.where((other > 0) & (rng.random() < 0.7), other, prediction)
    categories = {s["id"]: s["category"] for s in label_segments}
    segments = [
        {"id": int(n), "category": categories.get(int(n), 0) if rng.random() < 0.85 else int(rng.integers(0, CLASSES))}
        for n in np.unique(prediction)
        if n
    ]
    return prediction, segments, label, label_segments


def slow_statistics(prediction, segments, label, label_segments):
    """The rules, one pair of segments at a time."""
    found = np.zeros((CLASSES, 4))
    void = label == 0
    matched_labels, matched = set(), set()
    for truth in label_segments:
        for guess in segments:
            inside, outside = label == truth["id"], prediction == guess["id"]
            shared = (inside & outside).sum()
            union = (outside & ~void).sum() + inside.sum() - shared
            if truth["iscrowd"] or truth["category"] != guess["category"] or shared == 0:
                continue
            if shared / union > 0.5:
                found[truth["category"], :2] += shared / union, 1
                matched_labels.add(truth["id"])
                matched.add(guess["id"])
    crowd = {}
    for truth in label_segments:
        if truth["iscrowd"]:
            crowd[truth["category"]] = truth["id"]
        elif truth["id"] not in matched_labels:
            found[truth["category"], 3] += 1
    for guess in segments:
        if guess["id"] in matched:
            continue
        outside = prediction == guess["id"]
        excused = (outside & void).sum()
        if guess["category"] in crowd:
            excused += (outside & (label == crowd[guess["category"]])).sum()
        if excused / outside.sum() <= 0.5:
            found[guess["category"], 2] += 1
    return found


@pytest.mark.parametrize("seed", range(40))
def test_equals_the_rules_applied_one_by_one(seed):
    pair = random_pair(seed)
    ours = panoptic_statistics(*pair, CLASSES)
    expected = slow_statistics(*pair)
    assert np.array_equal(ours[:, 1:], expected[:, 1:])
    np.testing.assert_allclose(ours[:, 0], expected[:, 0], rtol=0, atol=1e-12)


def one(prediction, label, categories=(0, 1), crowd=(0, 0)):
    """Statistics of 1-D maps; segment i has category i - 1."""
    prediction, label = np.array([prediction]), np.array([label])
    make = lambda ids: [
        {"id": int(n), "category": categories[n - 1], "iscrowd": crowd[n - 1]} for n in np.unique(ids) if n
    ]
    return panoptic_statistics(prediction, make(prediction), label, make(label), 2)


def test_half_is_no_match_and_more_is():
    assert one([1, 1, 0, 0], [1, 1, 1, 1])[0].tolist() == [0, 0, 1, 1]
    assert one([1, 1, 1, 0], [1, 1, 1, 1])[0].tolist() == [0.75, 1, 0, 0]


def test_void_pixels_do_not_count_in_the_union():
    assert one([1, 1, 1, 1], [1, 0, 0, 0])[0].tolist() == [1, 1, 0, 0]


def test_predictions_mostly_on_void_or_crowd_are_excused():
    assert one([1, 1, 1, 2], [2, 0, 0, 2])[0].tolist() == [0, 0, 0, 0]
    assert one([1, 1, 2, 2], [2, 0, 2, 2])[0, 2] == 1  # exactly half on void: not excused
    assert one([1, 1, 1, 1], [1, 1, 1, 2], crowd=(1, 0))[0].tolist() == [0, 0, 0, 0]


def test_crowd_only_void_only_and_empty():
    assert not one([1, 1], [1, 1], crowd=(1, 0)).any()
    assert not one([1, 2], [0, 0]).any()
    assert one([0, 0], [1, 2]).sum(0).tolist() == [0, 0, 0, 2]
    assert panoptic_quality(np.zeros((3, 4)))["n"] == 0


def test_a_perfect_prediction_scores_one():
    rng = np.random.default_rng(0)
    label, segments = random_map(rng, 8)
    quality = panoptic_quality(panoptic_statistics(label, segments, label, segments, CLASSES))
    assert (quality["pq"], quality["sq"], quality["rq"]) == (1, 1, 1)


def test_an_unwanted_category_counts_as_void():
    label, prediction = np.array([[1, 1, 2, 2]]), np.array([[1, 1, 2, 2]])
    segments = [{"id": 1, "category": 255, "iscrowd": 0}, {"id": 2, "category": 0, "iscrowd": 0}]
    guess = [{"id": 1, "category": 1}, {"id": 2, "category": 0}]
    assert panoptic_statistics(prediction, guess, label, segments, 2).tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("prediction", "segments", "message"),
    [
        ([[1, 7]], [{"id": 1, "category": 0}], "segment id 7"),
        ([[1, 1]], [{"id": 1, "category": 0}, {"id": 2, "category": 0}], "no pixel"),
        ([[1, 1]], [{"id": 1, "category": 9}], "category 9"),
        ([[1, 1, 1]], [{"id": 1, "category": 0}], r"\(1, 3\)"),
        ([[1, 2]], [{"id": 1, "category": 0}, {"id": 1, "category": 0}], "twice"),
        ([[1, 1]], [{"id": 1, "category": -1}], "category -1"),
        ([[1, 1]], [{"id": 1}], "without id or category"),
        ([[1.0, float("nan")]], [{"id": 1, "category": 0}], "map is float64; expected integers"),
    ],
)
def test_contradictions_are_named(prediction, segments, message):
    with pytest.raises(DataError, match=message):
        panoptic_statistics(np.array(prediction), segments, np.array([[1, 1]]), [{"id": 1, "category": 0}], 2, "a.png")


def samples(seeds):
    for seed in seeds:
        prediction, segments, label, label_segments = random_pair(seed)
        sample = DataSample(metainfo={"img_path": f"{seed}.png"})
        sample.gt_panoptic = PixelData(data=torch.from_numpy(label)[None], metainfo={"segments_info": label_segments})
        sample.pred_panoptic = PixelData(data=torch.from_numpy(prediction)[None], metainfo={"segments_info": segments})
        yield sample.to_dict()


def metric(seeds, **options) -> tuple[PanopticMetric, dict]:
    made = PanopticMetric(**options)
    made.dataset_meta = {"classes": [f"c{i}" for i in range(CLASSES)], "thing_classes": ["c0", "c1", "c2"]}
    made.process({}, list(samples(seeds)))
    return made, made.compute_metrics(made.results)


def test_metric_adds_up_over_images_and_keeps_each():
    made, metrics = metric(range(12), classwise=True)
    total = sum(panoptic_statistics(*random_pair(seed), CLASSES) for seed in range(12))
    assert metrics["pq"] == pytest.approx(100 * panoptic_quality(total)["pq"])
    assert metrics["pq_th"] == pytest.approx(100 * panoptic_quality(total[:3])["pq"])
    assert metrics["pq/c0"] == pytest.approx(100 * panoptic_quality(total[:1])["pq"])
    assert len(made.per_image) == 12 and np.array_equal(sum(s for _, s in made.per_image), total)
    # two processes' results, joined, are those of one
    first, second = metric(range(5))[0], metric(range(5, 12))[0]
    assert first.compute_metrics(first.results + second.results)["pq"] == metrics["pq"]


def test_metric_names_what_is_missing():
    with pytest.raises(ConfigError, match="class names"):
        PanopticMetric().process({}, list(samples([1])))
    made = PanopticMetric()
    made.dataset_meta = {"classes": ["a"]}
    with pytest.raises(DataError, match="gt_panoptic"):
        made.process({}, [{"img_path": "x.png"}])


def test_classes_without_a_segment_are_named(said):
    made = PanopticMetric()
    made.dataset_meta = {"classes": ["a", "b", "c"]}
    for label, segments in ((np.array([[1, 2]]), [{"id": 1, "category": 0}, {"id": 2, "category": 2}]), ([[0, 0]], [])):
        sample = DataSample(metainfo={"img_path": "x.png"})
        for side in ("gt", "pred"):
            data = PixelData(data=torch.as_tensor(label)[None], metainfo={"segments_info": segments})
            sample.set_field(data, f"{side}_panoptic")
        made.results.clear()
        made.process({}, [sample.to_dict()])
        made.compute_metrics(made.results)
    assert said == [
        "PanopticMetric: 1 of 3 classes have no labeled segment in this set: 'b'",
        "PanopticMetric: none of the 1 images has labeled segments: PQ is meaningless",
    ]
    with pytest.raises(DataError, match="no sample was evaluated"):
        made.compute_metrics([])


@pytest.mark.peer
def test_equals_panopticapi():
    """Needs PANOPTICAPI_REPO, a checkout of cocodataset/panopticapi."""
    repository = os.environ.get("PANOPTICAPI_REPO")
    if not repository:
        pytest.skip("PANOPTICAPI_REPO is not set")
    sys.path.insert(0, repository)
    try:
        from panopticapi.evaluation import pq_compute_single_core
    finally:
        sys.path.remove(repository)
    import tempfile

    import cv2

    categories = {i: {"id": i, "isthing": 1} for i in range(CLASSES)}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(200):
            pair = random_pair(seed)
            entries = []
            for side, (ids, segments) in {"pred": pair[:2], "gt": pair[2:]}.items():
                path = Path(folder, side)
                path.mkdir(exist_ok=True)
                rgb = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(np.uint8)
                cv2.imwrite(str(path / "a.png"), rgb[..., ::-1])
                info = [
                    {"id": s["id"], "category_id": s["category"], "iscrowd": s.get("iscrowd", 0),
                     "area": int((ids == s["id"]).sum())} for s in segments
                ]  # fmt: skip
                entries.append({"image_id": 1, "file_name": "a.png", "segments_info": json.loads(json.dumps(info))})
            theirs = pq_compute_single_core(
                0, [(entries[1], entries[0])], str(Path(folder, "gt")), str(Path(folder, "pred")), categories
            )
            ours = panoptic_statistics(*pair, CLASSES)
            for i in range(CLASSES):
                stat = theirs[i]
                assert [stat.tp, stat.fp, stat.fn] == ours[i, 1:].tolist(), (seed, i)
                assert abs(stat.iou - ours[i, 0]) < 1e-12
