"""Test mIoU, mAcc and aAcc against direct counts over the dataset."""

import numpy as np
import pytest
import torch

from vislab.errors import DataError
from vislab.evaluation.semantic import SemSegMetric, confusion_matrix


def sample(label, prediction, **more) -> dict:
    return {
        "gt_sem_seg": {"data": torch.as_tensor(label)[None]},
        "pred_sem_seg": {"data": torch.as_tensor(prediction)[None]},
        **more,
    }


def test_equals_numpy_over_the_set():
    rng = np.random.default_rng(0)
    labels, predictions = rng.integers(0, 5, (3, 20, 30)), rng.integers(0, 6, (3, 20, 30))
    labels[:, :4] = 255  # class 5 is never labeled, but predicted; class 6 does not occur at all
    metric = SemSegMetric(num_classes=7)
    for label, prediction in zip(labels, predictions, strict=True):
        metric.process({}, [sample(label, prediction)])
    result = metric.compute_metrics(metric.results)
    valid = labels != 255
    g, p = labels[valid], predictions[valid]
    iou = [((g == c) & (p == c)).sum() / ((g == c) | (p == c)).sum() for c in range(6)]
    accuracy = [((g == c) & (p == c)).sum() / (g == c).sum() for c in range(5)]
    assert iou[5] == 0
    expected = {"mIoU": 100 * np.mean(iou), "mAcc": 100 * np.mean(accuracy), "aAcc": 100 * (g == p).mean()}
    assert result == pytest.approx(expected)


def test_counts_of_two_processes_add_up():
    rng = np.random.default_rng(1)
    samples = [sample(rng.integers(0, 3, (5, 5)), rng.integers(0, 3, (5, 5))) for _ in range(4)]
    one, left, right = (SemSegMetric(num_classes=3) for _ in range(3))
    one.process({}, samples)
    left.process({}, samples[::2])
    right.process({}, samples[1::2])
    assert one.compute_metrics(one.results) == one.compute_metrics(left.results + right.results)


def test_mistakes_are_named():
    metric = SemSegMetric(num_classes=3)
    with pytest.raises(DataError, match="a.png: the label contains class 7, there are 3"):
        metric.process({}, [sample(np.full((4, 4), 7), np.zeros((4, 4), int), img_path="a.png")])
    with pytest.raises(DataError, match=r"is \(4, 4\) \(h, w\), its prediction \(4, 5\)"):
        metric.process({}, [sample(np.zeros((4, 4), int), np.zeros((4, 5), int))])
    metric.process({}, [sample(np.full((4, 4), 255), np.zeros((4, 4), int))])
    with pytest.raises(DataError, match="all pixels of all 1 labels are ignored"):
        metric.compute_metrics(metric.results)


def test_confusion_matrix():
    counts = confusion_matrix(torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 1], [2, 255]]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_details():
    metric = SemSegMetric()
    metric.dataset_meta = {"classes": ("road", "car", "sky")}
    right, half = np.zeros((2, 4), int), np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    metric.process({}, [sample(right, right, img_path="a.png", sample_idx=4)])
    metric.process({}, [sample(half, right, img_path="b.png", sample_idx=7)])
    metric.compute_metrics(metric.results)
    details = metric.details
    assert [(s.image, s.index, s.score) for s in details.worst] == [("b.png", 7, 25.0), ("a.png", 4, 100.0)]
    assert details.confusion == [[12, 0, 0], [4, 0, 0], [0, 0, 0]]
    assert details.confused == [["car", "road", 4]]
    assert details.classes[1] == {"class": "car", "IoU": 0.0, "accuracy": 0.0, "pixels": 4.0}
    assert details.classes[2]["IoU"] is None


def test_classes_without_a_labeled_pixel_are_named(said):
    label = np.zeros((8, 8), int)
    label[2:6, 2:6] = 255  # an object coded as 255: a model that never finds it has mIoU 100
    metric = SemSegMetric()
    metric.dataset_meta = {"classes": ("background", "object")}
    metric.process({}, [sample(label, np.zeros((8, 8), int))])
    metric.compute_metrics(metric.results)
    assert said == [
        "SemSegMetric: 1 of 2 classes have no labeled pixel in this set: 'object'; "
        "25.0 % of all pixels are ignored (255)"
    ]


def test_maps_of_no_class_are_refused():
    zeros = np.zeros((4, 4), int)
    cases = (
        (zeros, zeros - 1, "x.png: the prediction contains class -1"),
        (zeros - 1, zeros, "x.png: the label contains class -1"),
        (zeros, np.full((4, 4), np.nan), "a predicted map is float64; expected integers"),
    )
    for label, prediction, message in cases:
        with pytest.raises(DataError, match=message):
            SemSegMetric(num_classes=3).process({}, [sample(label, prediction, img_path="x.png")])
    with pytest.raises(DataError, match="no pred_sem_seg"):
        SemSegMetric(num_classes=3).process({}, [{"gt_sem_seg": {"data": torch.zeros(1, 2, 2, dtype=torch.long)}}])
    with pytest.raises(DataError, match="no sample was evaluated"):
        SemSegMetric(num_classes=3).compute_metrics([])
