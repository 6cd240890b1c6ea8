"""Angles of rotated boxes as 180 classes of one degree, with targets that know the aspect ratio (AR-CSL, ARS-DETR).

Bin i is the angles [i, i + 1) - 90 degrees; angles are in radians, in [-pi/2, pi/2), clockwise.
"""

import math

import torch
from torch import Tensor

from vislab.ops.choices import largest

NUM_BINS = 180


def encode_angles(theta: Tensor) -> Tensor:
    """Return the bins (...) int64 of angles (...) in radians, which may be outside [-pi/2, pi/2)."""
    return (theta * (180 / math.pi) + 90).floor().long().remainder(NUM_BINS)


def decode_angles(logits: Tensor) -> Tensor:
    """Return the centers (...) of the most likely bins of logits (..., 180), in radians, float32."""
    return (largest(logits, dim=-1) + 0.5 - 90) * (math.pi / 180)


def decode_angles_with_gradient(logits: Tensor) -> Tensor:
    """Return `decode_angles(logits)`, with the gradient of the mean angle under the softmax of the logits.

    The most likely bin has no gradient. The mean is that of directions at twice the angle, so that angles just below
    90 and just above -90 degrees are neighbors, taken to first order about the most likely bin. The gradient is limited
    where the distribution has no direction, as that of a square with two maxima.
    """
    theta = decode_angles(logits).to(logits.dtype)  # (...)
    centers = (torch.arange(NUM_BINS, device=logits.device, dtype=logits.dtype) + 0.5 - 90) * (math.pi / 180)
    turn = 2 * (centers - theta[..., None])  # (..., 180)
    share = logits.softmax(-1)
    length = (share * turn.cos()).sum(-1).detach().clamp(min=0.1)  # of the mean direction, along theta
    mean = (share * turn.sin()).sum(-1) / (2 * length)
    return theta + (mean - mean.detach())


def self_rotation_iou(sides: Tensor, degrees: Tensor) -> Tensor:
    """Return the IoU of boxes and the same boxes rotated about their centers.

    Args:
        sides: (..., 2) positive widths and heights.
        degrees: (D,) rotations in [0, 180].

    Returns:
        (..., D).
    """
    long, short = sides.amax(-1, keepdim=True), sides.amin(-1, keepdim=True)
    angle = torch.minimum(degrees, 180 - degrees).to(sides) * (math.pi / 180)
    sin, cos = angle.sin(), angle.cos()
    # the corners beyond the rotated short and long sides are cut by triangles; beyond a critical angle the short sides
    # cut nothing, and the intersection is that of two strips
    beyond_short = (long * cos + short * sin - long) / 2
    beyond_long = (long * sin + short * cos - short) / 2
    cut = (beyond_short.square() + beyond_long.square()) / (sin * cos).clamp(min=1e-12)
    area = long * short
    common = torch.where(beyond_short >= 0, area - cut, short * short / sin.clamp(min=1e-12))
    common = torch.where(sin < 1e-9, area, torch.where(cos < 1e-9, short * short, common))
    return common / (2 * area - common)


def angle_targets(theta: Tensor, sides: Tensor) -> Tensor:
    """Return soft targets (..., 180) in [0, 1] of angles (...) of boxes with `sides` (..., 2) in pixels.

    The target of a bin is the IoU of the box with itself, rotated to that bin, scaled so that the smallest is 0. A
    square has a second maximum at 90 degrees.
    """
    overlap = self_rotation_iou(sides.clamp(min=1e-6), torch.arange(NUM_BINS, device=theta.device))
    low = overlap.amin(-1, keepdim=True)
    overlap = (overlap - low) / (1 - low)
    bins = torch.arange(NUM_BINS, device=theta.device) - encode_angles(theta)[..., None]
    return overlap.gather(-1, bins.remainder(NUM_BINS))


def elongation_weight(sides: Tensor) -> Tensor:
    """Return 2 r / (1 + r) for the aspect ratios r >= 1 of `sides` (..., 2): 1 for squares, 2 for lines."""
    long, short = sides.amax(-1), sides.amin(-1).clamp(min=1e-6)
    return 2 * long / (long + short)
