"""Test masks of COCO files: equal to pycocotools for valid masks, errors for others."""

import numpy as np
import pytest
from pycocotools import mask as coco

from vislab.datasets.transforms.masks import decode_mask
from vislab.errors import DataError

SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def decode(value, size=(60, 80)):
    return decode_mask(value, size, "the mask")


def test_run_lengths_of_both_kinds_equal_pycocotools():
    rng = np.random.default_rng(0)
    for _ in range(200):
        h, w = (int(n) for n in rng.integers(1, 90, 2))
        mask = (rng.random((h, w)) < rng.choice([0, 0.02, 0.5, 1])).astype(np.uint8)
        packed = coco.encode(np.asfortranarray(mask))["counts"]
        line = mask.T.ravel()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line]).astype(int)))
        runs = np.diff(np.concatenate([[0], edges, [line.size]])).tolist()
        for counts in (packed, packed.decode(), runs, [float(n) for n in runs]):
            np.testing.assert_array_equal(decode({"size": [h, w], "counts": counts}, (h, w)), mask)


def test_long_runs_survive_compression():
    mask = np.zeros((3000, 4000), np.uint8)
    mask[5, 3999] = mask[2999, 0] = 1
    packed = coco.encode(np.asfortranarray(mask))
    np.testing.assert_array_equal(decode(packed, mask.shape), mask)


def test_every_way_to_write_a_polygon():
    expected = coco.decode(coco.merge(coco.frPyObjects(SQUARE, 60, 80)))
    pairs = np.reshape(SQUARE[0], (-1, 2)).tolist()
    for value in (SQUARE, [pairs], pairs, [*SQUARE, []], [*SQUARE, [40, 40, 50, 50]], [np.array(SQUARE[0]).tolist()]):
        np.testing.assert_array_equal(decode(value), expected)
    two = [*SQUARE, [40.5, 10.25, 60, 10, 60, 20]]
    np.testing.assert_array_equal(decode(two), coco.decode(coco.merge(coco.frPyObjects(two, 60, 80))))


def test_polygons_over_the_edge_are_cut_and_slivers_are_empty():
    assert decode([[-20, -20, 100, -20, 100, 80, -20, 80]]).all()
    for sliver in ([[10, 10, 30, 10, 30, 10.01]], [[10, 10, 30, 30]], [[10, 10]], [[]], [[90, 10, 99, 10, 99, 20]]):
        mask = decode(sliver)
        assert mask.shape == (60, 80) and mask.dtype == np.uint8 and not mask.any()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([[1, 2, 3]], "3 numbers; expected pairs"),
        ([[10, 10, 30, 10, 30, float("nan")]], "contains nan, which is not a finite number"),
        ([[10, 10, 30, 10, 30, float("inf")]], "contains inf"),
        ([[10, 10, 30, 10, 30, 1e9]], r"coordinate 1e\+09, far outside its image of 60x80"),
        ([[10, 10, 30, 10, -400, 20]], "coordinate -400, far outside"),
        ([[10, 10, 30, 10, 10**40, 20]], "expected a list of numbers"),
        ([["10", "10", "30", "10", "30", "30"]], "expected a list of numbers"),
        ([[None] * 6], "expected a list of numbers"),
        ([None], "a polygon is 'None'"),
        ([5, [1, 2]], "a polygon is '5'"),
        ([[[10, 10, 30, 10, 30, 30]]], "expected a list of numbers"),
        ({"size": [60, 80], "counts": [100, 50]}, r"sum to 150, but the image has 4800 pixels"),
        ({"size": [60, 80], "counts": []}, "sum to 0"),
        ({"size": [60, 80], "counts": ""}, "sum to 0"),
        ({"size": [60, 80], "counts": [100, 50, 99999]}, "contain 50..99999"),
        ({"size": [60, 80], "counts": [4900, -100]}, "contain -100..4900"),
        ({"size": [60, 80], "counts": [4799.5, 0.5]}, "expected integers"),
        ({"size": [60, 80], "counts": ["4800"]}, "expected a list of numbers"),
        ({"size": [60, 80], "counts": [[4800]]}, "expected a list of numbers"),
        ({"size": [60, 80], "counts": None}, "expected a list of numbers"),
        ({"size": [60, 80], "counts": "zzzz"}, "'zzzz' are damaged or truncated"),
        ({"size": [60, 80], "counts": "Po"}, "damaged or truncated"),
        ({"size": [60, 80], "counts": "ä1"}, "damaged or truncated"),
        ({"size": [60, 80], "counts": "PPPPPPPPPPPPPPPP0"}, "beyond 32 bits"),
        ({"size": [80, 60], "counts": [4800]}, r"is 80x60 \(h x w\), its image is 60x80"),
        ({"size": [60, "80"], "counts": [4800]}, "size .*expected"),
        ({"size": 4800, "counts": [4800]}, "size 4800, expected"),
        ({"counts": [4800]}, "size None, expected"),
    ],
)
def test_what_pycocotools_must_not_see(value, message):
    with pytest.raises(DataError, match=message):
        decode(value)
