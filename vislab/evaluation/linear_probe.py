"""Linear probe on cached features: scikit-learn's multinomial logistic regression, with C selected on held-out images.

The test set is used once, for the final accuracy.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vislab.errors import DataError

CS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # inverse strength of the L2 penalty, for the sum over the images
HELD_OUT = 0.1


class LinearResult(NamedTuple):
    """Result of `linear_probe`.

    accuracy: Top-1 accuracy on the test images in percent. C: The selected value. held_out: Accuracy on the held-out
    training images in percent, by C. converged: Whether the final fit converged within the iterations.
    """

    accuracy: float
    C: float
    held_out: dict[float, float]
    converged: bool

    def at_edge(self) -> bool:
        """Return whether the selected C is the smallest or largest of the sweep."""
        return len(self.held_out) > 1 and self.C in (min(self.held_out), max(self.held_out))


def linear_probe(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    Cs: Sequence[float] = CS,
    held_out: float = HELD_OUT,
    max_iter: int = 500,
    seed: int = 0,
) -> LinearResult:
    """Fit a linear classifier to features (N, D) and evaluate it on `test` (M, D).

    Features are standardized with mean and standard deviation of the images of the fit. C is selected on a random,
    stratified part of the training images; the final fit uses all of them.

    Args:
        train, labels, test, test_labels: Features (N, D), (M, D) and classes (N,), (M,).
        Cs: Values of the sweep; one value is used without held-out images.
        held_out: Fraction of the training images to hold out.
        max_iter: Maximum number of L-BFGS iterations of each fit.
        seed: Seed of the held-out part.

    Raises:
        DataError: Features are not finite, or there are too few images to select C.
    """
    from sklearn.linear_model import LogisticRegression  # imported late: takes a second
    from sklearn.preprocessing import StandardScaler

    for which, features in (("training", train), ("test", test)):
        if not np.isfinite(features).all():
            raise DataError(
                f"linear probe: {which} features contain NaN or infinity: the encoder's weights are damaged"
            )
    if len(np.unique(labels)) < 2:
        raise DataError("linear probe: the training images have one class; expected at least two")
    scores: dict[float, float] = {}
    if len(Cs) > 1:
        fit, held = hold_out(labels, seed, held_out)
        scores = _sweep(train[fit], labels[fit], train[held], labels[held], sorted(Cs), max_iter)
    best = max(scores, key=lambda C: (scores[C], -C)) if scores else Cs[0]  # of equal ones the stronger penalty
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(C=best, max_iter=max_iter)
    converged = _fit(model, scaler.transform(train), labels)
    accuracy = 100.0 * float(np.mean(model.predict(scaler.transform(test)) == test_labels))
    return LinearResult(accuracy, best, scores, converged)


def hold_out(labels: np.ndarray, seed: int, fraction: float = HELD_OUT) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices to train on and the held-out ones, a random part with the class frequencies of `labels`.

    Raises:
        DataError: There are too few images for all classes in both parts.
    """
    from sklearn.model_selection import train_test_split

    try:
        fit, held = train_test_split(np.arange(len(labels)), test_size=fraction, random_state=seed, stratify=labels)
    except ValueError as error:
        raise DataError(
            f"cannot hold out {fraction:g} of {len(labels)} training images of {len(np.unique(labels))} classes "
            f"({error}): use more images"
        ) from error
    return fit, held


def _sweep(
    train: np.ndarray, labels: np.ndarray, held: np.ndarray, held_labels: np.ndarray, Cs: list[float], max_iter: int
) -> dict[float, float]:
    """Return the accuracy on held-out images in percent by C; each fit starts from that of the next smaller C."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train)
    train, held = scaler.transform(train), scaler.transform(held)
    model = LogisticRegression(max_iter=max_iter, warm_start=True)
    scores = {}
    for C in Cs:
        model.set_params(C=C)
        _fit(model, train, labels)
        scores[C] = 100.0 * float(np.mean(model.predict(held) == held_labels))
    return scores


def _fit(model: Any, features: np.ndarray, labels: np.ndarray) -> bool:
    """Fit a model of scikit-learn, and return whether it converged."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(features, labels)
    return not any(issubclass(warning.category, ConvergenceWarning) for warning in said)
