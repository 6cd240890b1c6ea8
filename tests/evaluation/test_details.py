"""Test the helpers of the details of metrics."""

import numpy as np
import pytest

from vislab.evaluation import details as d


def test_worst_images_first():
    scores = [d.ImageScore(image=str(i), score=s) for i, s in enumerate((3.0, float("nan"), 1.0, 2.0))]
    assert [s.image for s in d.worst_images(scores)] == ["2", "3", "0"]
    assert [s.image for s in d.worst_images(scores, lower_is_better=True)] == ["0", "3", "2"]
    assert len(d.worst_images(scores * 10)) == d.NUM_WORST


def test_confusions(monkeypatch):
    fields = d.confusion_fields(np.array([[5, 2, 0], [7, 1, 0], [0, 0, 3]]), ["a", "b", "c"])
    assert fields == {"confusion": [[5, 2, 0], [7, 1, 0], [0, 0, 3]], "confused": [["b", "a", 7], ["a", "b", 2]]}
    monkeypatch.setattr(d, "MAX_MATRIX", 2)
    assert d.confusion_fields(np.eye(3, dtype=int), ["a", "b", "c"]) == {"confusion": None, "confused": []}


def test_f1():
    correct, counted = np.array([True, False, True, False]), np.array([True, True, True, False])
    scores = np.array([0.9, 0.8, 0.2, 0.9])  # one found, one false, one below the limit, one not counted
    assert d.detection_f1(correct, counted, scores, 2) == pytest.approx(100 * 2 / 4)
    assert np.isnan(d.detection_f1(correct[:0], counted[:0], scores[:0], 0))


def test_undefined_values_are_none():
    assert d.class_table(["a", "b"], {"AP": [1.5, np.nan]}) == [{"class": "a", "AP": 1.5}, {"class": "b", "AP": None}]
