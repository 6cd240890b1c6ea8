"""COCO AP: both libraries agree, known values, crowds, what is missing."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from vislab.errors import ConfigError, DataError
from vislab.evaluation.coco import CocoMetric
from vislab.structures import DataSample


def sample(seed: int, size=(60, 80), exact: bool = False) -> dict:
    rng = np.random.default_rng(seed)
    truth, found = InstanceData(), InstanceData()
    n = int(rng.integers(1, 6))
    corner = rng.uniform(0, 30, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 30, (n, 2))], 1)
    labels = rng.integers(0, 3, n)
    moved = boxes if exact else boxes + rng.normal(0, 2, boxes.shape)
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)

    def masks(of):
        out = np.zeros((len(of), *size), np.uint8)
        for mask, (x0, y0, x1, y1) in zip(out, of.round().astype(int).clip(0), strict=True):
            mask[y0:y1, x0:x1] = 1
        return torch.from_numpy(out)

    truth.labels, truth.bboxes, truth.masks = torch.from_numpy(labels), torch.from_numpy(boxes), masks(boxes)
    truth.ignore = torch.from_numpy(rng.random(n) < (0.0 if exact else 0.2))
    found.labels, found.bboxes, found.masks = torch.from_numpy(labels), torch.from_numpy(moved), masks(moved)
    found.scores = torch.from_numpy(rng.random(n))
    out = DataSample(metainfo={"img_path": f"{seed}.jpg", "ori_shape": size})
    out.gt_instances, out.pred_instances = truth, found
    return out.to_dict()


def evaluate(samples, **options) -> dict:
    metric = CocoMetric(kinds=("bbox", "segm"), **options)
    metric.process({}, samples)
    return metric.compute_metrics(metric.results)


def test_both_libraries_agree():
    samples = [sample(seed) for seed in range(12)]
    fast, slow = evaluate(samples, backend="faster"), evaluate(samples, backend="pycocotools")
    assert fast.keys() == slow.keys() and 0 < slow["segm_mAP"] < 100
    for key, value in slow.items():
        assert fast[key] == pytest.approx(value, abs=1e-9), key


def test_perfect_predictions_score_100_and_none_score_0():
    samples = [sample(seed, exact=True) for seed in range(3)]
    assert evaluate(samples)["bbox_mAP"] == pytest.approx(100) and evaluate(samples)["segm_mAP"] == pytest.approx(100)
    for item in samples:
        item["pred_instances"] = {k: v[:0] for k, v in item["pred_instances"].items()}
    assert evaluate(samples)["segm_mAP"] == 0


def test_run_lengths_equal_masks():
    from vislab.evaluation.coco import encode_masks

    samples = [sample(seed) for seed in range(4)]
    expected = evaluate(samples)
    for item in samples:
        item["pred_instances"]["masks"] = encode_masks(item["pred_instances"]["masks"], (60, 80), "x")
    assert evaluate(samples) == expected


def test_without_ground_truth_there_is_no_number():
    item = sample(0)
    item["gt_instances"] = {k: v[:0] for k, v in item["gt_instances"].items()}
    assert evaluate([item]) == {}


def test_what_is_missing_is_named():
    item = sample(0)
    del item["pred_instances"]["masks"]
    with pytest.raises(DataError, match=r"0\.jpg has instances without masks"):
        evaluate([item])
    with pytest.raises(ConfigError, match="kinds"):
        CocoMetric(kinds=("boxes",))
