"""Details of an evaluation beside its metrics: a table by class, a confusion matrix, and the worst images.

A metric that has them sets its attribute `details` in `compute_metrics`; the Runner writes them to evaluation.json, and
`vislab report` shows them.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

NUM_WORST = 12
NUM_CONFUSED = 20
MIN_SCORE = 0.3  # of detections that count in scores of single images
MAX_MATRIX = 40  # classes


@dataclasses.dataclass(kw_only=True)
class ImageScore:
    """Score of one image.

    Args:
        image: Path of the image, or its name.
        score: Score in the unit of `Details.score_name`.
        index: Index in the dataset, if it is known.
        picture: Path of a drawing of labels and prediction, relative to the work directory, once there is one.
    """

    image: str
    score: float
    index: int | None = None
    picture: str | None = None


@dataclasses.dataclass(kw_only=True)
class Details:
    """Details of one metric.

    Args:
        metric: Name of the metric.
        classes: Rows of the table by class: {"class": name, column: value}; values that are not defined are None.
        confusion: Matrix of counts, rows are the true classes, in the order of `classes`; None for more than MAX_MATRIX
            classes, or without one.
        confused: The NUM_CONFUSED most frequent confusions, [true class, predicted class, count].
        worst: At most NUM_WORST images, the worst first.
        score_name: Meaning of the scores of single images.
    """

    metric: str
    classes: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    confusion: list[list[int]] | None = None
    confused: list[list[Any]] = dataclasses.field(default_factory=list)
    worst: list[ImageScore] = dataclasses.field(default_factory=list)
    score_name: str = ""


def class_table(names: Sequence[str], columns: Mapping[str, Iterable[float]]) -> list[dict[str, Any]]:
    """Return the rows {"class": name, column: value}; NaN and infinity become None."""
    values = {key: [float(v) if np.isfinite(v) else None for v in column] for key, column in columns.items()}
    return [{"class": str(name), **{key: values[key][i] for key in values}} for i, name in enumerate(names)]


def confusion_fields(confusion: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the fields `confusion` and `confused` of Details for a matrix (C, C), rows are the true classes."""
    wrong = confusion * (1 - np.eye(len(confusion), dtype=confusion.dtype))
    most = np.argsort(-wrong, axis=None, kind="stable")[:NUM_CONFUSED]
    pairs = [(int(k) // len(names), int(k) % len(names)) for k in most]
    return {
        "confusion": confusion.tolist() if len(names) <= MAX_MATRIX else None,
        "confused": [[str(names[t]), str(names[p]), int(wrong[t, p])] for t, p in pairs if wrong[t, p]],
    }


def worst_images(scores: Iterable[ImageScore], *, lower_is_better: bool = False) -> list[ImageScore]:
    """Return the NUM_WORST images with the worst finite scores, the worst first."""
    finite = [score for score in scores if np.isfinite(score.score)]
    return sorted(finite, key=lambda s: -s.score if lower_is_better else s.score)[:NUM_WORST]


def detection_f1(correct: np.ndarray, counted: np.ndarray, scores: np.ndarray, num_objects: int) -> float:
    """Return the F1 score of an image in percent, over detections with a score of at least MIN_SCORE.

    Args:
        correct: (D,) bool, true positives.
        counted: (D,) bool, False for detections that are neither true nor false positives.
        scores: (D,) scores.
        num_objects: Number of objects that are not ignored.

    Returns:
        100 * 2 TP / (TP + FP + objects); NaN without detections and objects.
    """
    used = counted & (scores >= MIN_SCORE)
    total = int(used.sum()) + num_objects
    return 100 * 2 * int((correct & used).sum()) / total if total else float("nan")


def image_score(sample: Mapping[str, Any], score: float, position: int) -> ImageScore:
    """Return the score of a sample of a dataset; `position` names it if it has no path."""
    index = sample.get("sample_idx")
    return ImageScore(
        image=str(sample.get("img_path") or f"image {position}"),
        score=float(score),
        index=None if index is None else int(index),
    )
