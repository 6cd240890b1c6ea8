"""Matching of detections to objects, and average precision (AP) in the three forms in use, on plain arrays.

- "11point": mean of the best precision at the recalls 0, 0.1, ..., 1 (PASCAL VOC 2007; DOTA, mmrotate's default).
- "all_point": area under the precision envelope (PASCAL VOC from 2010; "area" in mmrotate).
- "101point": mean of the envelope at the recalls 0, 0.01, ..., 1 (COCO).

The first two go with the matching rule of VOC, `match_closest`, the third with that of COCO, `match_best_free`.
"""

import numpy as np

FORMS = ("11point", "all_point", "101point")
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def match_closest(
    iou: np.ndarray, ignore: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> tuple[np.ndarray, np.ndarray]:
    """Match by VOC's rule: a detection may only take the object it overlaps most.

    It is a true positive if their IoU reaches the threshold and no detection of a higher score took this object. If
    the object is ignored, the detection is not counted.

    Args:
        iou: (D, G) IoU of the detections, by descending score, and objects of one image; 0 for different classes.
        ignore: (G,) bool.
        thresholds: (T,) increasing.

    Returns:
        Whether each detection is a true positive (D, T) and whether it is not counted (D, T).
    """
    shape = (len(iou), len(thresholds))
    if not iou.size:
        return np.zeros(shape, bool), np.zeros(shape, bool)
    closest = iou.argmax(1)
    reached = iou.max(1)[:, None] >= thresholds  # (D, T)
    skipped = reached & ignore[closest][:, None]
    row, column = np.nonzero(reached & ~skipped)  # by descending score
    taken = np.full((iou.shape[1], len(thresholds)), len(iou))
    np.minimum.at(taken, (closest[row], column), row)  # the first detection of each object
    correct = np.zeros(shape, bool)
    objects, column = np.nonzero(taken < len(iou))
    correct[taken[objects, column], column] = True
    return correct, skipped


def match_best_free(
    iou: np.ndarray, ignore: np.ndarray, thresholds: np.ndarray = THRESHOLDS
) -> tuple[np.ndarray, np.ndarray]:
    """Match by COCO's rule: detections choose, by descending score, the free object they overlap most.

    Of equal overlaps the last object is chosen. A detection that finds no free object but reaches the threshold with an
    ignored one is not counted. Arguments and returns are as in `match_closest`.

    All detections choose at once; an object keeps the one with the highest score, and the others choose their next
    object until none has to. This ends in the same matching as choosing one after the other.
    """
    count, columns = len(iou), len(thresholds)
    correct = np.zeros((count, columns), bool)
    if not iou.size:
        return correct, correct.copy()
    limits = np.minimum(thresholds, 1 - 1e-10)
    regular = np.flatnonzero(~ignore)[::-1]  # the last one first, for equal overlaps
    depth = int((iou[:, regular] >= limits[0]).sum(1).max(initial=0))
    order = np.argsort(-iou[:, regular], axis=1, kind="stable")[:, :depth]  # (D, K) objects by descending overlap
    values = np.take_along_axis(iou[:, regular], order, 1)
    number = (values[:, :, None] >= limits).sum(1)  # (D, T) objects to choose from
    holder = np.full((len(regular), columns), count)
    choice = np.zeros((count, columns), int)
    while True:
        row, column = np.nonzero(~correct & (choice < number))
        if not len(row):
            break
        np.minimum.at(holder, (order[row, choice[row, column]], column), row)
        trying = correct.copy()
        trying[row, column] = True
        row, column = np.nonzero(trying)
        held = holder[order[row, choice[row, column]], column] == row
        correct[row, column] = held
        choice[row, column] += ~held
    skipped = ~correct & (iou[:, ignore].max(1, initial=-1.0)[:, None] >= limits)
    return correct, skipped


def average_precision(correct: np.ndarray, counted: np.ndarray, objects: int, form: str) -> np.ndarray:
    """Compute the AP of one class at each threshold.

    Args:
        correct: (D, T) bool, true positives, by descending score.
        counted: (D, T) bool, False for detections that are neither true nor false positives.
        objects: Number of objects that are not ignored, at least 1.
        form: One of `FORMS`.

    Returns:
        (T,) fractions.
    """
    hits = correct.cumsum(0)
    recall = hits / objects
    precision = hits / np.maximum(counted.cumsum(0), np.finfo(float).eps)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]  # the best precision at this recall or a higher one
    if form == "all_point":
        return (np.diff(recall, axis=0, prepend=0) * envelope).sum(0)
    envelope = np.concatenate([envelope, np.zeros((1, envelope.shape[1]))])
    if form == "11point":  # in integers: 3 of 10 objects are a recall of 0.3, which 0.1 * 3 exceeds
        levels, reached = np.arange(11) * objects, hits * 10
    else:
        levels, reached = np.linspace(0, 1, 101), recall
    places = np.stack([np.searchsorted(column, levels) for column in reached.T], 1)  # (levels, T)
    return np.take_along_axis(envelope, places, 0).mean(0)
