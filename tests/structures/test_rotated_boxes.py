"""Test rotated boxes: one convention, round trips of random boxes, and parity with OpenCV."""

import math

import cv2
import numpy as np
import pytest
import torch

from vislab.structures import rotated_boxes as rb


def _random(n: int = 500, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    center = rng.uniform(-100, 100, (n, 2))
    size = rng.uniform(1, 60, (n, 2))
    return np.concatenate([center, size, rng.uniform(-10, 10, (n, 1))], axis=1)


def _same_rectangle(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-6) -> None:
    """Equal as sets of corners: blind to the quarter-turn ambiguity of squares."""
    ca, cb = rb.rboxes_to_corners(a), rb.rboxes_to_corners(b)
    distance = np.linalg.norm(ca[:, :, None] - cb[:, None], axis=-1)
    assert distance.min(-1).max() < tolerance and distance.min(-2).max() < tolerance


def _legal(boxes: np.ndarray) -> None:
    assert (boxes[:, 2] >= boxes[:, 3]).all()
    assert (boxes[:, 4] >= -math.pi / 2 - 1e-6).all() and (boxes[:, 4] < math.pi / 2 + 1e-6).all()


def test_angles_run_clockwise_on_the_screen():
    corners = rb.rboxes_to_corners(np.array([[0.0, 0.0, 4.0, 2.0, math.pi / 4]]))[0]
    right_end = (corners[1] + corners[2]) / 2  # the end of the long side's axis
    np.testing.assert_allclose(right_end, [math.sqrt(2), math.sqrt(2)])  # right and down


def test_normalize_keeps_the_rectangle():
    boxes = _random()
    normal = rb.normalize(boxes)
    _legal(normal)
    _same_rectangle(boxes, normal)
    np.testing.assert_allclose(rb.normalize(normal), normal)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalize_never_returns_the_open_end(dtype):
    theta = np.array([math.pi / 2, -math.pi / 2, np.nextafter(-math.pi / 2, -9), 3 * math.pi / 2, 1e-9 - math.pi / 2])
    boxes = np.stack([0 * theta, 0 * theta, 0 * theta + 2, 0 * theta + 1, theta], axis=1).astype(dtype)
    angle = rb.normalize(boxes)[:, 4]
    assert (angle < dtype(math.pi / 2)).all() and (angle >= dtype(-math.pi / 2)).all()


def test_corners_round_trip():
    boxes = rb.normalize(_random())
    back = rb.corners_to_rboxes(rb.rboxes_to_corners(boxes))
    _legal(back)
    _same_rectangle(boxes, back)


def test_corner_order_does_not_matter():
    boxes = rb.normalize(_random(100))
    corners = rb.rboxes_to_corners(boxes)
    order = np.random.default_rng(1).permuted(np.tile(np.arange(4), (100, 1)), axis=1)
    _same_rectangle(boxes, rb.corners_to_rboxes(np.take_along_axis(corners, order[:, :, None], 1)))


def test_smallest_rectangle_of_any_four_points_equals_opencv():
    points = np.random.default_rng(3).uniform(0, 100, (200, 4, 2)).astype(np.float32)
    ours = rb.corners_to_rboxes(points)
    area = np.array([np.prod(cv2.minAreaRect(p)[1]) for p in points])
    np.testing.assert_allclose(ours[:, 2] * ours[:, 3], area, rtol=2e-3)


def test_points_on_a_line_or_on_one_spot():
    line = np.array([[[0.0, 0], [1, 1], [2, 2], [3, 3]], [[5.0, 5]] * 4])
    boxes = rb.corners_to_rboxes(line)
    np.testing.assert_allclose(boxes[0], [1.5, 1.5, 3 * math.sqrt(2), 0, math.pi / 4], atol=1e-9)
    np.testing.assert_allclose(boxes[1, :4], [5, 5, 0, 0])


def test_opencv_round_trip():
    boxes = rb.normalize(_random(200))
    for box, rect in zip(boxes, rb.to_cv2(boxes), strict=True):
        x, y, w, h, degrees = (float(v) for v in rect)
        points = cv2.boxPoints(((x, y), (w, h), degrees)).reshape(-1, 2).astype(np.float64)
        _same_rectangle(box[None], rb.corners_to_rboxes(points[None]), 1e-3)
        fitted = cv2.minAreaRect(points.astype(np.float32))
        _same_rectangle(box[None], rb.from_cv2(np.array([[*fitted[0], *fitted[1], fitted[2]]])), 0.2)


@pytest.mark.parametrize("degrees", [0, 45, 89.999, 90, -90, 180])
def test_opencv_quarter_turns(degrees):
    rect = ((10.0, 20.0), (4.0, 9.0), float(degrees))
    ours = rb.from_cv2(np.array([[10.0, 20.0, 4.0, 9.0, degrees]]))
    _legal(ours)
    _same_rectangle(ours, rb.corners_to_rboxes(cv2.boxPoints(rect).reshape(1, 4, 2).astype(np.float64)), 1e-4)


def test_other_conventions_round_trip():
    boxes = rb.normalize(_random())
    wide, oc = rb.to_le135(boxes), rb.to_oc(boxes)
    assert (wide[:, 4] >= -math.pi / 4).all() and (wide[:, 4] < 3 * math.pi / 4).all()
    assert (oc[:, 4] > 0).all() and (oc[:, 4] <= math.pi / 2).all()
    for other in (wide, oc, np.concatenate([boxes[:, :4], boxes[:, 4:] % math.pi], axis=1)):  # the last: [0, pi)
        _same_rectangle(boxes, other)
        np.testing.assert_allclose(rb.from_radians(other), boxes, atol=1e-6)
    _same_rectangle(boxes, rb.from_dota(rb.to_dota(boxes)))


def test_oc_at_the_ends_of_the_range():
    ends = np.array([[0, 0, 4, 2, -math.pi / 2], [0, 0, 4, 2, 0.0]])
    oc = rb.to_oc(ends)
    np.testing.assert_allclose(oc[:, 4], [math.pi / 2, math.pi / 2])
    _same_rectangle(ends, oc)


def test_axis_aligned_hull():
    boxes = rb.normalize(_random())
    corners = rb.rboxes_to_corners(boxes)
    np.testing.assert_allclose(rb.rboxes_to_hboxes(boxes), np.concatenate([corners.min(1), corners.max(1)], axis=1))
    flat = np.array([[1.0, 2, 9, 4], [1.0, 2, 4, 9]])
    np.testing.assert_allclose(rb.rboxes_to_hboxes(rb.hboxes_to_rboxes(flat)), flat, atol=1e-6)


@pytest.mark.parametrize("direction", ["horizontal", "vertical", "diagonal"])
def test_flip_equals_flipped_corners(direction):
    boxes = rb.normalize(_random())
    corners = rb.rboxes_to_corners(boxes)
    if direction != "vertical":
        corners[..., 0] = 70 - corners[..., 0]
    if direction != "horizontal":
        corners[..., 1] = 50 - corners[..., 1]
    flipped = rb.flip(boxes, (50, 70), direction)
    _same_rectangle(flipped, rb.corners_to_rboxes(corners))
    _same_rectangle(rb.flip(flipped, (50, 70), direction), boxes)


def test_rotate_scale_translate_equal_moved_corners():
    boxes = rb.normalize(_random())
    corners = rb.rboxes_to_corners(boxes)
    turn = np.array([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    moved = (corners - [3, 4]) @ turn.T + [3, 4]
    _same_rectangle(rb.rotate(boxes, 0.7, (3, 4)), rb.corners_to_rboxes(moved))
    _same_rectangle(rb.scale(boxes, 2.0, 2.0), rb.corners_to_rboxes(corners * 2))
    _same_rectangle(rb.translate(boxes, 5, -1), rb.corners_to_rboxes(corners + [5, -1]))


@pytest.mark.parametrize("factors", [(2.0, 0.5), (1.0, 1.25), (0.99, 1.01)])
def test_unequal_factors_keep_center_area_and_long_axis(factors):
    boxes = rb.normalize(_random())
    scaled = rb.scale(boxes, *factors)
    _legal(scaled)
    np.testing.assert_allclose(scaled[:, :2], boxes[:, :2] * factors)
    np.testing.assert_allclose(scaled[:, 2] * scaled[:, 3], boxes[:, 2] * boxes[:, 3] * np.prod(factors))
    axis, moved = (x[:, 2, None] * np.stack([np.cos(x[:, 4]), np.sin(x[:, 4])], axis=1) for x in (boxes, scaled))
    axis = axis * factors
    longer = np.linalg.norm(axis, axis=1) ** 2 > 1.01 * scaled[:, 2] * scaled[:, 3]  # than the other side
    assert longer.sum() > 100
    same = np.minimum(np.abs(axis - moved).max(axis=1), np.abs(axis + moved).max(axis=1))  # an axis has no sign
    assert same[longer].max() < 1e-9
    _same_rectangle(rb.scale(scaled, 1 / factors[0], 1 / factors[1])[longer], boxes[longer])


def test_unequal_factors_are_exact_for_upright_boxes():
    upright = np.array([[10.0, 20, 8, 4, 0], [10, 20, 8, 4, -math.pi / 2], [10, 20, 8, 8, 0]])
    _same_rectangle(rb.scale(upright, 3.0, 0.5), rb.corners_to_rboxes(rb.rboxes_to_corners(upright) * [3, 0.5]))


@pytest.mark.peer
@pytest.mark.parametrize("ratio", [1.05, 1.25, 2.0])
def test_scaled_boxes_overlap_the_sheared_object_more_than_opencvs_rectangle(ratio):
    from shapely import Polygon

    boxes = rb.normalize(_random())[:300]
    sheared = [Polygon(corners) for corners in rb.rboxes_to_corners(boxes) * [ratio, 1]]
    ours = [Polygon(corners) for corners in rb.rboxes_to_corners(rb.scale(boxes, ratio, 1.0))]
    smallest = [Polygon(cv2.boxPoints(cv2.minAreaRect(np.float32(p.exterior.coords)))) for p in sheared]
    mine, other = (
        np.array([p.intersection(q).area / p.union(q).area for p, q in zip(sheared, found, strict=True)])
        for found in (ours, smallest)
    )
    assert mine.mean() > other.mean() and mine.min() > other.min() and (mine > other - 1e-4).mean() > 0.8


def test_tensors_give_the_same_numbers_as_arrays():
    boxes = rb.normalize(_random(50))
    tensor = torch.from_numpy(boxes)
    corners = rb.rboxes_to_corners(boxes)
    for ours, theirs in (
        (rb.rboxes_to_corners(tensor), corners),
        (rb.corners_to_rboxes(torch.from_numpy(corners)), rb.corners_to_rboxes(corners)),
        (rb.rboxes_to_hboxes(tensor), rb.rboxes_to_hboxes(boxes)),
        (rb.flip(tensor, (50, 70)), rb.flip(boxes, (50, 70))),
        (rb.scale(tensor, 2.0, 0.5), rb.scale(boxes, 2.0, 0.5)),
        (rb.to_oc(tensor), rb.to_oc(boxes)),
    ):
        np.testing.assert_allclose(ours.numpy(), theirs)


def test_no_boxes():
    none = np.zeros((0, 5), np.float32)
    assert rb.rboxes_to_corners(none).shape == (0, 4, 2)
    assert rb.corners_to_rboxes(np.zeros((0, 4, 2), np.float32)).shape == (0, 5)
    assert rb.rboxes_to_hboxes(none).shape == (0, 4) and rb.flip(none, (5, 5)).shape == (0, 5)
    assert rb.clip_to_window(none, (5, 5))[0].shape == (0, 5)


def test_box_of_a_drawn_mask():
    box = np.array([60.0, 50.0, 50.0, 20.0, 0.5], np.float32)
    y, x = np.mgrid[:100, :120] + 0.5
    along = (x - 60) * math.cos(0.5) + (y - 50) * math.sin(0.5)
    across = (y - 50) * math.cos(0.5) - (x - 60) * math.sin(0.5)
    mask = ((abs(along) <= 25) & (abs(across) <= 10)).astype(np.uint8)
    np.testing.assert_allclose(rb.mask_to_rbox(mask), box, atol=1.0)
    assert not rb.mask_to_rbox(np.zeros((5, 5), np.uint8)).any()


def test_clip_refits_only_what_is_cut():
    boxes = np.array([[50, 50, 20, 10, 0.3], [0, 50, 20, 10, 0.0], [-50, 50, 20, 10, 0.0]], np.float32)
    clipped, share = rb.clip_to_window(boxes, (100, 100))
    np.testing.assert_array_equal(clipped[0], boxes[0])
    np.testing.assert_allclose(rb.rboxes_to_hboxes(clipped[1]), [0, 45, 10, 55], atol=1e-3)
    np.testing.assert_allclose(share, [1, 0.5, 0], atol=1e-5)
