"""Training of small heads on cached features, with the learning rate selected on held-out training images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import TrainingError
from vislab.evaluation.linear_probe import hold_out

RATES = (3e-4, 1e-3, 3e-3, 1e-2)


class HeadResult(NamedTuple):
    """Result of `probe_head`: test accuracy in percent, selected learning rate, held-out accuracies by rate."""

    accuracy: float
    lr: float
    held_out: dict[float, float]

    def at_edge(self) -> bool:
        """Return whether the selected rate is the smallest or largest of the sweep."""
        return len(self.held_out) > 1 and self.lr in (min(self.held_out), max(self.held_out))


def probe_head(
    make: Callable[[], nn.Module],
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    rates: Sequence[float] = RATES,
    epochs: int = 15,
    batch_size: int = 256,
    seed: int = 0,
) -> HeadResult:
    """Train a head on features (N, ...) and evaluate it on `test` (M, ...).

    Each rate of the sweep is trained for a third of the epochs on 90 % of the training images and evaluated on the
    others; the final head is trained on all of them. The test images are used once.

    Args:
        make: Returns a new head from features to logits.
        train, labels, test, test_labels: Features and classes.
        rates: Learning rates of the sweep; a single one is used without it.
        epochs, batch_size: Of the final training.
        seed: Seed of initial weights, order, and held-out part.
    """
    scores: dict[float, float] = {}
    if len(rates) > 1:
        fit, held = hold_out(labels, seed)
        for lr in rates:
            head = fit_head(make, train, labels, fit, lr=lr, epochs=-(-epochs // 3), batch_size=batch_size, seed=seed)
            scores[lr] = head_accuracy(head, train[held], labels[held])
    best = max(scores, key=lambda lr: (scores[lr], -lr)) if scores else rates[0]
    everything = np.arange(len(labels))
    head = fit_head(make, train, labels, everything, lr=best, epochs=epochs, batch_size=batch_size, seed=seed)
    return HeadResult(head_accuracy(head, test, test_labels), best, scores)


def fit_head(
    make: Callable[[], nn.Module],
    features: np.ndarray,
    labels: np.ndarray,
    chosen: np.ndarray,
    *,
    lr: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> nn.Module:
    """Return a head trained on the images `chosen`, in eval mode.

    AdamW without weight decay; linear warm-up over 10 % of the steps, then a cosine to zero. torch's generators are
    left as they were.

    Raises:
        TrainingError: The loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = make().train()
    order = np.random.default_rng(seed)
    batch_size = min(batch_size, len(chosen))
    per_epoch = len(chosen) // batch_size
    optimizer = torch.optim.AdamW(head.parameters(), lr=lr, weight_decay=0.0)
    schedule = _warmup_cosine(optimizer, per_epoch * epochs)
    for _ in range(epochs):
        shuffled = order.permutation(chosen)
        for start in range(0, per_epoch * batch_size, batch_size):
            batch = np.sort(shuffled[start : start + batch_size])  # read in the order of the memory
            inputs, target = _tensor(features[batch]), torch.from_numpy(labels[batch])
            loss = F.cross_entropy(head(inputs), target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not bool(loss.isfinite()):
            raise TrainingError(f"the loss of the probe is not finite at learning rate {lr:g}: use a lower one")
    return head.eval()


def head_accuracy(head: nn.Module, features: np.ndarray, labels: np.ndarray, batch_size: int = 512) -> float:
    """Return the top-1 accuracy of a head in percent."""
    right = 0
    with torch.inference_mode():
        for start in range(0, len(labels), batch_size):
            found = head(_tensor(features[start : start + batch_size])).argmax(dim=1)
            right += int((found == torch.from_numpy(labels[start : start + batch_size])).sum())
    return 100.0 * right / len(labels)


def _warmup_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    warm = max(1, steps // 10)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / (warm + 1), total_iters=warm)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps - warm))
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[warm])


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float()
