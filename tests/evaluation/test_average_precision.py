"""Test matching rules and AP on hand-worked cases, and the matching against plain loops."""

import numpy as np
import pytest

from vislab.evaluation.average_precision import THRESHOLDS, average_precision, match_best_free, match_closest

AT_HALF = np.array([0.5])


def loop(iou: np.ndarray, ignore: np.ndarray, threshold: float, free: bool) -> tuple[list[bool], list[bool]]:
    """Both rules, one detection after the other."""
    taken, correct, skipped = set(), [], []
    for row in iou:
        best, rank = None, None
        for g, value in enumerate(row):
            if free and not ignore[g] and g in taken:
                continue
            order = (not ignore[g], value, g) if free else (value, -g)
            if value >= threshold and (rank is None or order > rank):
                best, rank = g, order
        correct.append(best is not None and not ignore[best] and best not in taken)
        skipped.append(best is not None and bool(ignore[best]))
        taken.add(best)
    return correct, skipped


@pytest.mark.parametrize("seed", range(20))
def test_matching_equals_plain_loops(seed):
    rng = np.random.default_rng(seed)
    count, objects = int(rng.integers(0, 40)), int(rng.integers(0, 12))
    iou = rng.integers(0, 21, (count, objects)) / 20  # ties, and values equal to thresholds
    ignore = rng.random(objects) < 0.3
    for rule, free in ((match_closest, False), (match_best_free, True)):
        correct, skipped = rule(iou, ignore)
        for t, threshold in enumerate(THRESHOLDS):
            expected = loop(iou, ignore, threshold, free)
            assert correct[:, t].tolist() == expected[0] and skipped[:, t].tolist() == expected[1]


def test_where_the_rules_differ():
    iou = np.array([[0.9, 0.6], [0.8, 0.7]])  # the second detection overlaps the taken object more
    none = np.zeros(2, bool)
    assert match_closest(iou, none, AT_HALF)[0][:, 0].tolist() == [True, False]
    assert match_best_free(iou, none, AT_HALF)[0][:, 0].tolist() == [True, True]
    first = np.array([True, False])  # the closest object is ignored
    assert match_closest(iou, first, AT_HALF)[1][:, 0].tolist() == [True, True]
    assert match_best_free(iou, first, AT_HALF)[0][:, 0].tolist() == [True, False]
    assert match_best_free(iou, first, AT_HALF)[1][:, 0].tolist() == [False, True]


def ap(correct, objects: int, form: str, counted=None) -> float:
    correct = np.array(correct, bool)[:, None]
    counted = np.ones_like(correct) if counted is None else np.array(counted, bool)[:, None]
    return average_precision(correct, counted, objects, form).item()


def test_hand_worked_curves():
    # precision 1, 1/2, 2/3, 2/4, 3/5 at recall .25, .25, .5, .5, .75 of four objects
    curve = [True, False, True, False, True]
    assert ap(curve, 4, "all_point") == pytest.approx(0.25 * (1 + 2 / 3 + 3 / 5))
    assert ap(curve, 4, "11point") == pytest.approx((3 * 1 + 3 * 2 / 3 + 2 * 3 / 5) / 11)  # 0..0.2, 0.3..0.5, 0.6, 0.7
    assert ap(curve, 4, "101point") == pytest.approx((26 * 1 + 25 * 2 / 3 + 25 * 3 / 5) / 101)
    assert ap(curve, 4, "all_point", [True, False, True, False, True]) == pytest.approx(0.75)


def test_eleven_points_count_a_recall_of_three_tenths():
    """In floats, 3 / 10 is less than 0.1 * 3, so that the fourth point would be lost."""
    assert ap([True] * 3, 10, "11point") == pytest.approx(4 / 11)
    assert ap([True] * 6, 10, "11point") == pytest.approx(7 / 11)
    assert ap([True] * 7, 10, "11point") == pytest.approx(8 / 11)


@pytest.mark.parametrize("form", ["11point", "all_point", "101point"])
def test_limits(form):
    assert ap([True] * 5, 5, form) == pytest.approx(1)
    assert ap([False] * 5, 5, form) == 0 and ap(np.zeros(0), 5, form) == 0
    assert ap([False, True], 1, form) == pytest.approx(0.5)
    assert ap([False, True], 1, form, [False, True]) == pytest.approx(1)
