"""Boxes in relative coordinates and their updates in logit space.

A box is (cx, cy, w, h), divided by the width and height of the image without padding. A rotated box has the angle as a
fifth value; w and h are its own sides, divided by the width and height of the image as those of an upright box.
"""

import math

import torch
from torch import Tensor

from vislab.layers.deformable_attention import Shapes


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """Return the logits of `x` in [0, 1], limited by `eps` to about 11.5 for 1e-5 and 6.9 for 1e-3."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))


def refine(delta: Tensor, reference: Tensor, eps: float = 1e-5) -> Tensor:
    """Return boxes (B, Q, 4) for deltas (B, Q, 4) in logit space, in float32 or float64.

    References are points (B, Q, 2), for which w and h are the sigmoid of the delta, boxes (B, Q, 4), or rotated boxes
    (B, Q, 5), whose angle is not used.
    """
    with torch.autocast(delta.device.type, enabled=False):
        delta = wide(delta)
        place = inverse_sigmoid(reference.to(delta.dtype)[..., :4], eps)
        if place.shape[-1] == 2:
            place = torch.nn.functional.pad(place, (0, 2))
        return (delta + place).sigmoid()


def upright(reference: Tensor, shapes: Shapes) -> Tensor:
    """Exchange width and height of rotated boxes (..., 5) whose angle exceeds 45 degrees; angles are then within 45.

    The box covers the same pixels. The largest of `shapes` (height, width) gives the aspect ratio of the image.
    """
    height, width = max(shapes, key=lambda shape: shape[0] * shape[1])
    cx, cy, w, h, theta = reference.unbind(-1)
    steep = theta.abs() > math.pi / 4
    theta = torch.where(steep, theta - theta.sign() * (math.pi / 2), theta)
    sides = torch.where(steep, h * (height / width), w), torch.where(steep, w * (width / height), h)
    return torch.stack((cx, cy, *sides, theta), dim=-1)


def wide(x: Tensor) -> Tensor:
    """Return `x` in float32, or unchanged in float64."""
    return x if x.dtype == torch.float64 else x.float()
