"""Weighted k-nearest-neighbor classification of cached features, as in the evaluations of DINO."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import ConfigError, DataError

CHUNK = 512  # test images per matrix product; 512 x 20,000 similarities have 40 MB


def knn_predict(
    train: Tensor,
    labels: Tensor,
    test: Tensor,
    *,
    ks: Sequence[int] = (10, 20, 100, 200),
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int = CHUNK,
) -> dict[int, Tensor]:
    """Return the predicted classes (M,) int64 for each k.

    Features are divided by their L2 norm. The k training images with the highest cosine similarity s vote for their
    class with weight exp(s / temperature).

    Args:
        train: (N, D) features of the training images.
        labels: (N,) their classes.
        test: (M, D) features.
        ks: Numbers of neighbors, at most N.
        temperature: Temperature of the weights.
        num_classes: Number of classes. Default: largest label plus one.
        chunk: Test images per matrix product.

    Raises:
        ConfigError: A k is not in 1..N, or the temperature is not positive.
        DataError: Features are not finite.
    """
    if not ks or min(ks) < 1 or max(ks) > len(train):
        raise ConfigError(f"knn: k={list(ks)} with {len(train)} training images: expected values in 1..{len(train)}")
    if temperature <= 0:
        raise ConfigError(f"knn: temperature={temperature} must be positive")
    require_finite_features(train, "training")
    require_finite_features(test, "test")
    classes = num_classes or int(labels.max()) + 1
    bank = F.normalize(train.float(), dim=1).t().contiguous()  # (D, N)
    found: dict[int, list[Tensor]] = {k: [] for k in ks}
    for part in F.normalize(test.float(), dim=1).split(chunk):
        similarity, index = (part @ bank).topk(max(ks), dim=1)  # (chunk, k), highest first
        weight = ((similarity - 1) / temperature).exp()  # at most 1
        votes, neighbors = torch.zeros(len(part), classes, dtype=weight.dtype, device=weight.device), labels[index]
        before = 0
        for k in sorted(set(ks)):  # the votes of fewer neighbors are a part of those of more
            votes.scatter_add_(1, neighbors[:, before:k], weight[:, before:k])
            found[k].append(votes.argmax(dim=1))
            before = k
    return {k: torch.cat(parts) for k, parts in found.items()}


def knn_accuracy(
    train: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, *, ks: Sequence[int] = (10, 20, 100, 200)
) -> dict[int, float]:
    """Return the top-1 accuracy in percent for each k; a k above the number of training images is left out.

    Raises:
        ConfigError, DataError: As in `knn_predict`.
    """
    usable = [k for k in ks if k <= len(train)] or [len(train)]
    classes = int(max(labels.max(), test_labels.max())) + 1
    predictions = knn_predict(train, labels, test, ks=usable, num_classes=classes)
    return {k: 100.0 * (found == test_labels).double().mean().item() for k, found in predictions.items()}


def require_finite_features(features: Tensor, which: str) -> None:
    """Raise DataError if features contain NaN or infinity, or if there are none."""
    if not len(features):
        raise DataError(f"there are no {which} features")
    if not bool(features.isfinite().all()):
        bad = int((~features.isfinite().all(dim=1)).sum())
        raise DataError(
            f"{bad} of {len(features)} {which} features contain NaN or infinity: the encoder's weights are damaged or "
            "its training diverged"
        )
