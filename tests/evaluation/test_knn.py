"""Test k-nearest neighbors against scikit-learn's classifier with the same weights, and known answers."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from vislab.errors import ConfigError, DataError
from vislab.evaluation.knn import knn_accuracy, knn_predict


def blobs(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, count)
    centers = np.random.default_rng(9).normal(size=(5, 16))
    return torch.from_numpy(centers[labels] + rng.normal(size=(count, 16))).float(), torch.from_numpy(labels)


@pytest.mark.parametrize("chunk", [7, 512])
def test_equals_scikit_learn(chunk):
    (train, labels), (test, _) = blobs(600), blobs(201, seed=1)
    found = knn_predict(train, labels, test, ks=(20, 1, 200), chunk=chunk)
    unit = [torch.nn.functional.normalize(x.double(), dim=1).numpy() for x in (train, test)]
    for k, predictions in found.items():
        vote = lambda distance: np.exp((1 - distance**2 / 2) / 0.07)  # cosine similarity of unit vectors
        peer = KNeighborsClassifier(n_neighbors=k, weights=vote, algorithm="brute").fit(unit[0], labels.numpy())
        assert np.mean(peer.predict(unit[1]) == predictions.numpy()) > 0.995, k  # ties by rounding
    assert list(found) == [20, 1, 200]


def test_scale_does_not_matter_and_neighbors_are_found():
    train = torch.eye(4).repeat(2, 1)
    labels = torch.arange(4).repeat(2)
    found = knn_predict(train, labels, 100 * torch.eye(4), ks=[2])
    assert found[2].tolist() == [0, 1, 2, 3]


def test_the_temperature_decides_between_near_and_many():
    train = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.6, 0.8]])
    labels, test = torch.tensor([0, 1, 1]), torch.tensor([[1.0, 0.0]])
    assert knn_predict(train, labels, test, ks=[3], temperature=0.07)[3].item() == 0
    assert knn_predict(train, labels, test, ks=[3], temperature=10.0)[3].item() == 1


def test_accuracy_leaves_out_too_many_neighbors():
    (train, labels), (test, truth) = blobs(50), blobs(20, seed=1)
    assert list(knn_accuracy(train, labels, test, truth)) == [10, 20]
    assert knn_accuracy(train, labels, train, labels, ks=[1]) == {1: 100.0}


def test_invalid_input_is_refused():
    train, labels = blobs(10)
    with pytest.raises(ConfigError, match="1..10"):
        knn_predict(train, labels, train, ks=[11])
    with pytest.raises(ConfigError, match="temperature"):
        knn_predict(train, labels, train, ks=[1], temperature=0.0)
    with pytest.raises(DataError, match="1 of 10 test features contain NaN"):
        knn_predict(train, labels, train.index_fill(0, torch.tensor([3]), float("nan")), ks=[1])
