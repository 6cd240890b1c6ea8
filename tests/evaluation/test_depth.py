"""Test the depth metrics against NumPy for all combinations of options."""

import numpy as np
import pytest
import torch

from vislab.errors import ConfigError, DataError
from vislab.evaluation.depth import NAMES, DepthMetric, crop_window


def sample(target, prediction, **more) -> dict:
    return {
        "gt_depth": {"data": torch.as_tensor(target)[None].float()},
        "pred_depth": {"data": torch.as_tensor(prediction)[None].float()},
        **more,
    }


def oracle(d: np.ndarray, g: np.ndarray) -> list[float]:
    ratio, e = np.maximum(d / g, g / d), np.log(d) - np.log(g)
    return [
        *((ratio < 1.25**k).mean() for k in (1, 2, 3)),
        (np.abs(d - g) / g).mean(),
        ((d - g) ** 2 / g).mean(),
        np.sqrt(((d - g) ** 2).mean()),
        np.sqrt((e**2).mean()),
        np.abs(np.log10(d) - np.log10(g)).mean(),
        100 * np.sqrt((e**2).mean() - e.mean() ** 2),
        1000 * np.sqrt(((1 / d - 1 / g) ** 2).mean()),
    ]


@pytest.mark.parametrize("average", ["image", "pixel"])
@pytest.mark.parametrize("crop", ["none", "nyu_eigen", "garg", "kitti_eigen"])
def test_equals_numpy(crop, average):
    rng = np.random.default_rng(0)
    shape = (480, 640) if crop == "nyu_eigen" else (352, 1216)
    metric = DepthMetric(max_depth=10, crop=crop, average=average)
    pairs = []
    for i in range(2):
        g = rng.uniform(0, 11 + i, shape).astype(np.float32)
        g[rng.random(shape) < 0.2] = 0
        d = (g + rng.normal(0, 0.5, shape)).astype(np.float32)
        d[0, 0], d[100, 100], d[101, 101] = np.nan, np.inf, -1
        metric.process({}, [sample(g, d)])
        d = np.clip(np.nan_to_num(d, nan=1e-3, posinf=10), 1e-3, 10).astype(np.float64)
        h, w = shape
        mask = np.zeros(shape, bool)
        if crop == "none":
            mask[:] = True
        elif crop == "nyu_eigen":
            mask[45:471, 41:601] = True
        elif crop == "garg":
            mask[int(0.40810811 * h) : int(0.99189189 * h), int(0.03594771 * w) : int(0.96405229 * w)] = True
        else:
            mask[int(0.3324324 * h) : int(0.91351351 * h), int(0.0359477 * w) : int(0.96405229 * w)] = True
        mask &= (g > 1e-3) & (g < 10)
        pairs.append((d[mask], g[mask].astype(np.float64)))
    if average == "image":
        expected = np.mean([oracle(*pair) for pair in pairs], axis=0)
    else:
        expected = oracle(*(np.concatenate(side) for side in zip(*pairs, strict=True)))
    result = metric.compute_metrics(metric.results)
    assert [result[name] for name in NAMES] == pytest.approx(list(expected), rel=1e-6)


def test_the_protocol_stands_in_the_result():
    metric = DepthMetric(max_depth=80, crop="garg", clamp=False, average="pixel")
    metric.process({}, [sample(np.ones((4, 4)), np.ones((4, 4)), inference="whole, flip")])
    line = metric.compute_metrics(metric.results)["protocol"]
    for word in ("80) m", "crop garg", "not clamped", "pooled", "whole, flip"):
        assert word in line


def test_clamp_switch():
    def rmse(clamp):
        metric = DepthMetric(max_depth=10, clamp=clamp)
        metric.process({}, [sample(np.full((4, 4), 9.0), np.full((4, 4), 12.0))])
        return metric.compute_metrics(metric.results)["rmse"]

    assert (rmse(True), rmse(False)) == pytest.approx((1, 3))


def test_images_without_labels_are_counted_and_not_averaged():
    metric = DepthMetric()
    metric.process({}, [sample(np.ones((4, 4)), np.ones((4, 4))), sample(np.zeros((4, 4)), np.ones((4, 4)))])
    result = metric.compute_metrics(metric.results)
    assert result["skipped"] == 1 and result["d1"] == 1
    with pytest.raises(DataError, match="none of the 1 images has a label"):
        metric.compute_metrics(metric.results[1:])


def test_mistakes_are_named():
    with pytest.raises(DataError, match=r"label of x.png is \(4, 4\).*prediction \(4, 5\)"):
        DepthMetric().process({}, [sample(np.ones((4, 4)), np.ones((4, 5)), img_path="x.png")])
    with pytest.raises(ConfigError, match="crop='eigen'"):
        DepthMetric(crop="eigen")
    with pytest.raises(ConfigError, match="0 < min_depth"):
        DepthMetric(min_depth=0)


def test_nyu_window_is_scaled_with_the_label():
    assert crop_window((480, 640), "nyu_eigen") == (slice(45, 471), slice(41, 601))
    rows, columns = crop_window((240, 320), "nyu_eigen")
    assert (rows.start, columns.stop) == (22, 300)


def test_depths_that_are_no_numbers_are_counted_and_said(said):
    target, prediction = np.ones((10, 10)), np.ones((10, 10))
    target[0], prediction[0], prediction[1, :5] = 0, np.nan, np.inf  # the first row has no label: it does not count
    metric = DepthMetric()
    metric.process({}, [sample(target, prediction, img_path="a.png"), sample(target, np.ones((10, 10)))])
    result = metric.compute_metrics(metric.results)
    assert result["not_finite"] == pytest.approx(100 * 5 / 180)
    assert len(said) == 1 and "5 of 180 predicted depths" in said[0] and "in 1 images, first a.png" in said[0]
    broken = DepthMetric()
    broken.process({}, [sample(target, np.full((10, 10), np.nan), img_path="a.png")])
    with pytest.raises(DataError, match="90 of 90 predicted depths are NaN or infinite"):
        broken.compute_metrics(broken.results)
    with pytest.raises(DataError, match="no pred_depth"):
        metric.process({}, [{"gt_depth": {"data": torch.ones(1, 2, 2)}}])
    with pytest.raises(DataError, match="no sample was evaluated"):
        metric.compute_metrics([])
