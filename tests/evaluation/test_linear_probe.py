"""Test the linear probe against scikit-learn called directly, and that the test set selects nothing."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vislab.errors import DataError
from vislab.evaluation.linear_probe import linear_probe


def data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    centers = np.random.default_rng(9).normal(size=(4, 12))
    noise = rng.normal(size=(count, 12)) * 2
    return (100 * (centers[labels] + noise) + 500).astype(np.float32), labels


def test_equals_scikit_learn():
    (train, labels), (test, truth) = data(400, 0), data(200, 1)
    found = linear_probe(train, labels, test, truth, Cs=(0.003, 0.1))
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=found.C, max_iter=1000)).fit(train, labels)
    assert found.accuracy == pytest.approx(100 * peer.score(test, truth), abs=0.51)
    assert found.accuracy > 50 and found.converged and set(found.held_out) == {0.003, 0.1}
    assert found.at_edge()


def test_the_sweep_does_not_look_at_the_test_set():
    (train, labels), (test, truth) = data(400, 0), data(200, 1)
    first = linear_probe(train, labels, test, truth)
    other = linear_probe(train, labels, -test, (truth + 1) % 4)
    assert first.C == other.C and first.held_out == other.held_out and first.accuracy != other.accuracy


def test_a_seed_selects_the_held_out_images():
    (train, labels), (test, truth) = data(200, 0), data(50, 1)
    runs = [linear_probe(train, labels, test, truth, Cs=(0.01, 0.1), seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] and runs[0].held_out != runs[2].held_out


def test_features_without_variance_and_few_iterations():
    train, labels = data(60, 0)
    train[:, 0] = 3.0
    found = linear_probe(train, labels, train, labels, Cs=(1.0,), max_iter=2)
    assert not found.converged and not found.held_out and not found.at_edge() and np.isfinite(found.accuracy)


def test_invalid_input_is_refused():
    train, labels = data(40, 0)
    broken = train.copy()
    broken[3, 2] = np.nan
    with pytest.raises(DataError, match="training features contain NaN"):
        linear_probe(broken, labels, train, labels)
    with pytest.raises(DataError, match="one class"):
        linear_probe(train, np.zeros_like(labels), train, labels)
    with pytest.raises(DataError, match="cannot hold out"):
        linear_probe(train[:4], np.arange(4), train, labels)
