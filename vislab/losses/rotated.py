"""Distances between rotated boxes that are smooth where angles are not: at +-90 degrees, and for squares.

Boxes are (cx, cy, w, h, theta) in pixels and radians. All functions broadcast over the leading dimensions, so that
(..., Q, 1, 5) and (..., T, 5) give matching costs (..., Q, T). They are the same for the two forms of a box, (w, h,
theta) and (h, w, theta + 90 degrees), and for theta + 180 degrees.

A box as a Gaussian has its center as mean and the half sides as standard deviations along its axes. With Sp and St as
the covariances of prediction and target (Yang et al., GWD, arXiv 2101.11952; KLD, arXiv 2106.01883):

    kld = (d' Sp^-1 d + tr(Sp^-1 St) + ln(det Sp / det St)) / 2 - 1
    gwd = |d|^2 + tr(Sp) + tr(St) - 2 sqrt(tr(Sp St) + 2 sqrt(det Sp det St))

They are computed from sides and angles in forms without differences of large numbers, so float32 is sufficient.
"""

from typing import Literal

import torch
from torch import Tensor

from vislab.errors import check_choice
from vislab.structures.rotated_boxes import rboxes_to_corners

_SIDE = 1e-7  # smallest side


def kld(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence (...) of boxes as Gaussians, at least 0; it is not symmetric."""
    px, py, p1, p2, angle = _parts(prediction)
    tx, ty, t1, t2, other = _parts(target)
    dx, dy = tx - px, ty - py
    cos, sin = angle.cos(), angle.sin()
    along, across = (dx * cos + dy * sin) / p1, (dy * cos - dx * sin) / p2
    sin2 = (other - angle).sin().square()
    r11, r22, r21, r12 = ((a / b).square() for a, b in ((t1, p1), (t2, p2), (t2, p1), (t1, p2)))
    trace = (1 - sin2) * (r11 + r22) + sin2 * (r21 + r12)
    divergence = (along.square() + across.square() + trace) / 2 + ((p1 / t1) * (p2 / t2)).log() - 1
    return divergence.clamp(min=0)


def gwd(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the squared Wasserstein distance (...) of boxes as Gaussians, in square pixels."""
    px, py, p1, p2, angle = _parts(prediction)
    tx, ty, t1, t2, other = _parts(target)
    product = p1 * t1 + p2 * t2
    turned = (other - angle).sin().square() * (p1.square() - p2.square()) * (t1.square() - t2.square())
    root = (product.square() - turned).clamp(min=0).add(_SIDE**4).sqrt()
    shape = (p1 - t1).square() + (p2 - t2).square() + 2 * turned / (product + root)
    return (px - tx).square() + (py - ty).square() + shape


def normalized_gwd(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the Wasserstein distance (...) relative to twice the geometric mean of the half sides of both boxes."""
    distance = gwd(prediction, target).clamp(min=1e-7).sqrt()
    sides = prediction[..., 2:4].clamp(min=_SIDE).log().sum(-1) + target[..., 2:4].clamp(min=_SIDE).log().sum(-1)
    return distance / sides.div(4).exp()  # 2 (det Sp det St)^(1/8) = (w h w' h')^(1/4)


def corner_distance(
    prediction: Tensor, target: Tensor, *, reduction: Literal["mean", "max"] = "mean", scale: Tensor | None = None
) -> Tensor:
    """Return distances (...) between the four corners of boxes.

    Each corner has the distance to the nearest corner of the other box. The result is their mean over both boxes
    (Chamfer), or the largest (Hausdorff).

    Args:
        prediction, target: (..., 5), broadcast.
        reduction: "mean" or "max".
        scale: (..., 2), by which x and y are divided before. Default: pixels are not changed.
    """
    check_choice("corner distance: reduction", reduction, ("mean", "max"))
    corners, other = rboxes_to_corners(prediction), rboxes_to_corners(target)
    if scale is not None:
        corners, other = corners / scale[..., None, :], other / scale[..., None, :]
    nearest, forth = None, []
    for i in range(4):  # 4 x 4 distances of all pairs at once would need much memory
        distance = (corners[..., i, None, :] - other).square().sum(-1).clamp(min=1e-20).sqrt()  # (..., 4)
        forth.append(distance.amin(-1))
        nearest = distance if nearest is None else torch.minimum(nearest, distance)
    both = torch.cat((torch.stack(forth, -1), nearest), -1)  # (..., 8)
    return both.mean(-1) if reduction == "mean" else both.amax(-1)


def bounded(distance: Tensor) -> Tensor:
    """Return 1 - 1 / (1 + ln(1 + distance)), in [0, 1)."""
    return 1 - 1 / (1 + distance.log1p())


def _parts(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return center, longer and shorter half side, and the angle of the longer one."""
    cx, cy, w, h, theta = boxes.unbind(-1)
    w, h = w.clamp(min=_SIDE) / 2, h.clamp(min=_SIDE) / 2
    tall = h > w
    return cx, cy, torch.where(tall, h, w), torch.where(tall, w, h), theta + tall.to(theta.dtype) * (torch.pi / 2)
