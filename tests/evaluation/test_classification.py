"""Test top-k accuracy against direct counts, edge cases, and merging over processes."""

import numpy as np
import pytest
import torch

from vislab.errors import DataError
from vislab.evaluation.classification import Accuracy


def _sample(target, score=None, label=None) -> dict:
    prediction = {} if score is None else {"score": torch.as_tensor(score, dtype=torch.float32)}
    if label is not None:
        prediction["label"] = torch.tensor([label])
    return {"gt_label": {"label": torch.tensor([target])}, "pred_label": prediction, "img_path": "x.jpg"}


def _run(metric, samples):
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_equals_counting():
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(200, 10)), rng.integers(0, 10, 200)
    result = _run(Accuracy(topk=(1, 3)), [_sample(t, s) for t, s in zip(targets, scores, strict=True)])
    order = np.argsort(-scores, axis=1)
    for k in (1, 3):
        expected = 100 * np.mean([t in row[:k] for t, row in zip(targets, order, strict=True)])
        assert result[f"accuracy/top{k}"] == pytest.approx(expected)
    assert all(type(v) is float for v in result.values())


def test_fewer_classes_than_k():
    assert _run(Accuracy(), [_sample(2, [0.9, 0.1, 0.0])]) == {"accuracy/top1": 0.0, "accuracy/top5": 100.0}


def test_a_model_without_an_opinion_is_not_right():
    samples = [_sample(t, [0.5] * 4) for t in range(4)]
    assert _run(Accuracy(topk=1), samples) == {"accuracy/top1": 25.0}
    assert _run(Accuracy(topk=1), [_sample(1, [float("nan")] * 3)]) == {"accuracy/top1": 0.0}


def test_labels_alone_give_top1():
    assert _run(Accuracy(topk=1), [_sample(1, label=1), _sample(1, label=0)]) == {"accuracy/top1": 50.0}


def test_results_of_ranks_add_up():
    rng = np.random.default_rng(1)
    samples = [_sample(t, s) for t, s in zip(rng.integers(0, 5, 31), rng.normal(size=(31, 5)), strict=True)]
    whole, ranks = Accuracy(), [Accuracy(), Accuracy()]
    for rank, metric in enumerate(ranks):
        metric.process(None, samples[rank::2])
    merged = ranks[0].compute_metrics(ranks[0].results + ranks[1].results)
    assert {f"accuracy/{k}": v for k, v in merged.items()} == pytest.approx(_run(whole, samples))


def test_impossible_labels_and_settings():
    with pytest.raises(DataError, match="x.jpg has label 7, the model scores 3 classes"):
        _run(Accuracy(), [_sample(7, [0.1, 0.2, 0.7])])
    with pytest.raises(DataError, match="x.jpg has no label"):
        _run(Accuracy(), [{"img_path": "x.jpg"}])
    with pytest.raises(ValueError, match="topk"):
        Accuracy(topk=0)


def test_scores_that_are_no_numbers_are_wrong_and_said(said):
    nan, inf = float("nan"), float("inf")
    # NaN for all classes must not make class 0 right; one NaN or +inf beside the true class is no opinion either
    samples = [_sample(0, [nan] * 3), _sample(1, [nan, 0.9, 0.1]), _sample(1, [0.1, inf, 0.1])]
    samples += [_sample(2, [-inf, 0.1, 0.9])]  # a class ruled out is fine
    assert _run(Accuracy(topk=(1, 3)), samples) == {"accuracy/top1": 25.0, "accuracy/top3": 25.0}
    assert said == [
        "Accuracy: 3 of 4 images have scores of NaN or infinity, first x.jpg; they count as wrong: the weights are "
        "damaged or training diverged"
    ]


def test_classes_of_model_and_data_differ():
    metric = Accuracy()
    metric.dataset_meta = {"classes": ("a", "b")}
    with pytest.raises(DataError, match="returns 3 scores for x.jpg, the dataset has 2 classes"):
        _run(metric, [_sample(1, [0.1, 0.2, 0.7])])
    with pytest.raises(DataError, match="has label -1"):
        _run(metric, [_sample(-1, [0.1, 0.9])])
    with pytest.raises(DataError, match="has label 2, the dataset has 2 classes"):
        _run(metric, [_sample(2, label=2)])
    with pytest.raises(DataError, match="2 labels"):
        _run(Accuracy(), [_sample(0, [0.1, 0.9]) | {"gt_label": {"label": torch.tensor([0, 1])}}])
    with pytest.raises(DataError, match="no pred_label"):
        _run(Accuracy(), [{"gt_label": {"label": torch.tensor([0])}}])
    with pytest.raises(DataError, match="no sample was evaluated"):
        Accuracy().compute_metrics([])


def test_details_against_hand_counts():
    metric = Accuracy(topk=1)
    metric.dataset_meta = {"classes": ("cat", "dog", "cow")}
    cases = ((0, [0.9, 0.1, 0]), (0, [0.2, 0.8, 0]), (1, [0.3, 0.7, 0]), (1, [float("nan")] * 3))
    _run(metric, [_sample(t, s) | {"img_path": f"{i}.png", "sample_idx": i} for i, (t, s) in enumerate(cases)])
    details = metric.details
    assert details.confusion == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]  # the image without finite scores has no class
    assert details.classes[0] == {"class": "cat", "images": 2.0, "accuracy": 50.0}
    assert details.classes[2] == {"class": "cow", "images": 0.0, "accuracy": None}
    assert [(s.image, s.index) for s in details.worst] == [("1.png", 1), ("2.png", 2), ("0.png", 0)]
