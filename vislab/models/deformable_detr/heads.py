"""Prediction heads: class logits, box deltas and angle logits of queries or tokens."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vislab.layers.mlp import MLP
from vislab.models.deformable_detr.angles import NUM_BINS, decode_angles


@dataclass(frozen=True)
class Detections:
    """Raw predictions of one layer.

    Attributes:
        states: (B, Q, dim), the input of the heads.
        logits: (B, Q, classes).
        boxes: (B, Q, 4), cx, cy, w, h in relative coordinates of the image without padding, float32 or float64.
        angle_logits: (B, Q, 180) for rotated boxes; see `angles`.
    """

    states: Tensor
    logits: Tensor
    boxes: Tensor
    angle_logits: Tensor | None = None

    @property
    def references(self) -> Tensor:
        """Boxes (B, Q, 4), or (B, Q, 5) with the most likely angle; angles have no gradient."""
        if self.angle_logits is None:
            return self.boxes
        return torch.cat((self.boxes, decode_angles(self.angle_logits)[..., None].to(self.boxes)), dim=-1)

    def __getitem__(self, queries: slice) -> "Detections":
        """Return the predictions of some of the queries."""
        angle = None if self.angle_logits is None else self.angle_logits[:, queries]
        return Detections(self.states[:, queries], self.logits[:, queries], self.boxes[:, queries], angle)


class DetectionHead(nn.Module):
    """Linear class head, box head with three layers, and linear angle head for rotated boxes.

    Args:
        dim: Channels of the input.
        num_classes: Number of classes.
        rotated: Whether to predict angles.
        size_bias: Initial logit of width and height; the box head returns 0 otherwise.
    """

    def __init__(self, *, dim: int, num_classes: int, rotated: bool = False, size_bias: float = 0.0) -> None:
        super().__init__()
        self.classes = nn.Linear(dim, num_classes)
        self.boxes = MLP(dim=dim, hidden_dim=dim, out_dim=4)
        self.angles = nn.Linear(dim, NUM_BINS) if rotated else None
        nn.init.constant_(self.classes.bias, -math.log(99))  # an initial probability of 0.01
        nn.init.zeros_(self.boxes.layers[-1].weight)
        with torch.no_grad():
            self.boxes.layers[-1].bias.copy_(torch.tensor([0.0, 0.0, size_bias, size_bias]))

    def angle_logits(self, states: Tensor) -> Tensor | None:
        """Return angle logits (B, Q, 180) of states (B, Q, dim), None for axis-aligned boxes."""
        return None if self.angles is None else self.angles(states)
