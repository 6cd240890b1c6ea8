"""Test the training of heads: it learns, is deterministic, selects on held-out images, leaves the generators alone."""

import numpy as np
import pytest
import torch

from vislab.engine.head_training import fit_head, head_accuracy, probe_head
from vislab.errors import DataError, TrainingError
from vislab.models.encoder_classifier import ProbeHead, build_pool


def data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One of six tokens, at a random place, tells the class: their mean is weak, attention is strong."""
    rng = np.random.default_rng(seed)
    labels, place = rng.integers(0, 4, count), rng.integers(0, 6, count)
    tokens = rng.normal(size=(count, 6, 16)).astype(np.float32)
    tokens[np.arange(count), place, :4] = 3 * np.eye(4)[labels]
    tokens[np.arange(count), place, 5] = 5
    return tokens.astype(np.float16), labels


def make(kind: str = "efficient") -> ProbeHead:
    return ProbeHead(dim=16, num_classes=4, pool=build_pool(kind, 16))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["efficient", "attentive"])
def test_attention_finds_the_token(kind):
    (train, labels), (test, truth) = data(600, 0), data(200, 1)
    found = probe_head(lambda: make(kind), train, labels, test, truth, rates=(1e-3, 1e-2), epochs=12, batch_size=64)
    assert found.accuracy > 80 and set(found.held_out) == {1e-3, 1e-2} and found.lr == 1e-2 and found.at_edge()


def test_a_seed_gives_the_same_head_and_leaves_the_generators():
    train, labels = data(100, 0)
    options = {"lr": 1e-2, "epochs": 2, "batch_size": 32}
    state = torch.get_rng_state()
    heads = [fit_head(make, train, labels, np.arange(100), seed=seed, **options) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state) and not heads[0].training
    first, same, other = (head.classifier.weight for head in heads)
    assert torch.equal(first, same) and not torch.equal(first, other)


def test_the_test_set_selects_nothing():
    (train, labels), (test, truth) = data(200, 0), data(50, 1)
    options = {"rates": (1e-3, 1e-2), "epochs": 3, "batch_size": 64}
    first = probe_head(make, train, labels, test, truth, **options)
    other = probe_head(make, train, labels, test, (truth + 1) % 4, **options)
    assert first.held_out == other.held_out and first.lr == other.lr and first.accuracy != other.accuracy


def test_fewer_images_than_a_batch():
    train, labels = data(20, 0)
    head = fit_head(make, train, labels, np.arange(20), lr=1e-2, epochs=30, batch_size=256, seed=0)
    assert head_accuracy(head, train, labels) > 50


def test_failures_have_a_message():
    train, labels = data(40, 0)
    with pytest.raises(DataError, match="cannot hold out"):
        probe_head(make, train[:5], np.array([0, 1, 2, 3, 3]), train, labels)
    with pytest.raises(TrainingError, match="not finite at learning rate 0.01"):
        broken = train.copy()
        broken[:, 0] = np.nan
        fit_head(make, broken, labels, np.arange(40), lr=1e-2, epochs=1, batch_size=20, seed=0)
