"""Test the probe of an encoder: figures with their protocol, cache, metrics.json, refusals, real weights."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.apis.test_probing_inputs import CLASSIFIER, config
from tests.engine.test_features import write_images
from vislab.apis import probe
from vislab.apis.probing import evaluate_features
from vislab.engine.features import Features
from vislab.errors import ConfigError, DataError

KINDS = ("knn", "linear", "attentive", "efficient")


@pytest.fixture
def tree(tmp_path) -> Path:
    for split in ("train", "val"):
        write_images(tmp_path / "data" / split, count=15)
    return tmp_path / "data"


def test_all_probes_of_a_config(tree, tmp_path):
    options = {"data": tree, "kind": KINDS, "work_dir": tmp_path / "run", "seeds": (0, 1), "epochs": 2}
    found = probe(config(CLASSIFIER), **options)
    protocol = found.pop("protocol")
    names = {"linear_class", "linear_mean", "attentive", "efficient"}
    expected = {f"probe/{name}{end}" for name in names for end in ("", "_std")}
    assert set(found) == expected | {f"probe/knn_{f}_k{k}" for f in ("class", "mean") for k in (10, 20)}
    assert all(0 <= value <= 100 for value in found.values())
    for words in ("eval mode", "30 training and 30 test images", "class (16,)", "tokens (5, 16)", "computed now",
                  "C of 1e-05", "lr of 0.0003", "exp(s / 0.07)", "seeds 0, 1", "not augmented"):  # fmt: skip
        assert words in protocol, words
    written = json.loads((tmp_path / "run/metrics.json").read_text())
    assert written["metrics"]["probe/efficient"] == found["probe/efficient"] and "protocol" in written["metrics"]
    again = probe(config(CLASSIFIER), **options)
    assert "read from a file" in again.pop("protocol") and again == found
    assert len(list((tmp_path / "run/features").iterdir())) == 2


def test_pixels_are_a_baseline(tree, tmp_path):
    found = probe("pixels", data=tree, size=4, kind="knn", work_dir=tmp_path / "run")
    assert set(found) == {"protocol", "probe/knn_mean_k10", "probe/knn_mean_k20"} and "raw pixels" in found["protocol"]


def test_accuracies_are_in_percent_and_of_the_test_set():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    mean = (np.eye(2)[labels] + 0.05 * rng.normal(size=(80, 2))).astype(np.float32)
    train = Features({"mean": mean}, labels)
    swapped = Features({"mean": mean[::-1].copy()}, labels)
    for test, expected in ((train, 100.0), (swapped, 0.0)):
        found, notes = evaluate_features(train, test, kinds=("knn", "linear"), names=("mean",))
        assert found["knn_mean_k10"] == found["linear_mean"] == expected and len(notes) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_one_class_has_no_accuracy(kind):
    features = Features({"mean": np.eye(12, 4, dtype=np.float32)}, np.zeros(12, np.int64))
    with pytest.raises(DataError, match="all 12 training images have class 0"):
        evaluate_features(features, features, kinds=(kind,), names=("mean",))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "svm"}, "expected one or several of knn, linear"),
        ({"kind": ()}, "expected one or several"),
        ({"seeds": ()}, "at least one"),
        ({"seeds": (0, -1)}, "no negative seed"),
        ({"feature": "max"}, "'max' is not one of"),
        ({"device": "cuda:99"}, "cuda"),
        ({"layer": 7}, "1 blocks"),
        ({"size": 0}, "size=0 is no size"),
        ({"num_workers": -1}, "no negative seed or number of workers"),
        ({"splits": ("val", "val"), "size": 8}, "the test images would be those of the training"),
    ],
)
def test_options_are_checked(tree, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        probe(config(CLASSIFIER), **{"data": tree, "work_dir": tmp_path / "run", "kind": "knn", **change})


def test_a_class_token_that_does_not_exist_is_refused(tree, tmp_path):
    with pytest.raises(ConfigError, match="no class token"):
        probe("pixels", data=tree, size=4, kind="knn", feature="class", work_dir=tmp_path)


@pytest.mark.data
@pytest.mark.slow
def test_real_weights_are_far_above_pixels(data_root, tmp_path):
    weights = data_root / "weights/tf_efficientnet_lite0_timm.safetensors"
    common = {"data": data_root / "cifar10_subset.zip", "train": 1000, "test": 300, "kind": ("knn", "linear")}
    lite0 = probe("tf_efficientnet_lite0", weights, size=96, work_dir=tmp_path / "lite0", **common)
    pixels = probe("pixels", size=16, work_dir=tmp_path / "pixels", **common)
    for name in ("probe/linear_mean", "probe/knn_mean_k20"):
        assert lite0[name] > 55 and lite0[name] > pixels[name] + 30, (name, lite0[name], pixels[name])


@pytest.mark.data
@pytest.mark.peer
def test_real_features_classify_as_in_scikit_learn(data_root, tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = data_root / "cifar10_subset.zip"
    weights = data_root / "weights/tf_efficientnet_lite0_timm.safetensors"
    found = probe(
        "tf_efficientnet_lite0", weights, data=data, size=64, train=1000, test=500, work_dir=tmp_path,
        kind=("knn", "linear"),
    )  # fmt: skip
    sets = [dict(np.load(path)) for path in (tmp_path / "features").iterdir()]
    test, train = sorted(sets, key=lambda arrays: len(arrays["labels"]))
    unit = [x["mean"].astype(np.float64) / np.linalg.norm(x["mean"], axis=1, keepdims=True) for x in (train, test)]
    for k in (10, 20, 100, 200):
        vote = lambda distance: np.exp((1 - distance**2 / 2) / 0.07)
        peer = KNeighborsClassifier(n_neighbors=k, weights=vote, algorithm="brute").fit(unit[0], train["labels"])
        accuracy = 100 * peer.score(unit[1], test["labels"])
        assert found[f"probe/knn_mean_k{k}"] == pytest.approx(accuracy, abs=0.21), k  # one image of 500
    (C,) = [float(part.split(";")[0]) for part in found["protocol"].split("mean C = ")[1:]]
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000)).fit(train["mean"], train["labels"])
    assert found["probe/linear_mean"] == pytest.approx(100 * peer.score(test["mean"], test["labels"]), abs=0.41)
