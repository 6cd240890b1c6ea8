"""Matching costs and losses of detections, one class per term, chosen and weighted in the config.

Costs compare all queries with all objects, and losses compare matched pairs. Boxes are in relative coordinates of the
image; terms that depend on angles use pixels, in which images that are not square keep their angles.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.models.deformable_detr.angles import NUM_BINS, decode_angles_with_gradient
from vislab.models.deformable_detr.targets import Targets
from vislab.registry import MODELS, TASK_UTILS
from vislab.structures.boxes import cxcywh_to_xyxy, generalized_box_iou


@dataclass(frozen=True)
class Outputs:
    """Predictions of L layers: logits (L, B, Q, C), boxes (L, B, Q, 4) and angle logits (L, B, Q, 180), all wide."""

    logits: Tensor
    boxes: Tensor
    angle_logits: Tensor | None


@dataclass(frozen=True)
class Pairs:
    """N predictions and their objects.

    Attributes:
        boxes, target_boxes: (N, 4), relative.
        sizes: (N, 2), width and height of the images in pixels.
        angle_logits: (N, 180), and the others for rotated boxes only: theta (N,) in radians, the soft targets angles
            (N, 180), and elongation (N,), the weight of a pair.
    """

    boxes: Tensor
    target_boxes: Tensor
    sizes: Tensor
    angle_logits: Tensor | None = None
    theta: Tensor | None = None
    angles: Tensor | None = None
    elongation: Tensor | None = None

    @property
    def rboxes(self) -> Tensor:
        """Predicted rotated boxes (N, 5) in pixels, with the most likely angle; see `decode_angles_with_gradient`."""
        return _pixels(self.boxes, self.sizes, decode_angles_with_gradient(self.angle_logits))

    @property
    def target_rboxes(self) -> Tensor:
        """Rotated boxes of the objects (N, 5) in pixels."""
        return _pixels(self.target_boxes, self.sizes, self.theta)


def _pixels(boxes: Tensor, sizes: Tensor, theta: Tensor) -> Tensor:
    return torch.cat((boxes * sizes.repeat_interleave(2, 0).view(*sizes.shape[:-1], 4), theta[..., None]), dim=-1)


# --- costs: (L, B, Q, T) for Outputs and Targets ---------------------------------------------------------------------


@TASK_UTILS.register_module()
class ClassCost:
    """Focal cost: the loss of a query as an object of the class, minus that as background.

    Args:
        weight: Factor.
        alpha, gamma: See focal_loss.
    """

    def __init__(self, *, weight: float = 2.0, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.weight, self.alpha, self.gamma = weight, alpha, gamma

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        positive, negative = (f(outputs.logits, self.alpha, self.gamma) for f in (focal_positive, focal_negative))
        index = targets.labels[:, None].expand(*outputs.logits.shape[:-1], -1)  # (L, B, Q, T)
        return self.weight * (positive - negative).gather(-1, index)


@TASK_UTILS.register_module()
class L1Cost:
    """Sum of the absolute differences of cx, cy, w and h, in relative coordinates.

    Args:
        weight: Factor.
        mixed_formats: Compare x1, y1, x2, y2 of the prediction with cx, cy, w, h of the object, as the published code
            of ARS-DETR and MutDet does; the cost of a perfect prediction is then not 0.
    """

    def __init__(self, *, weight: float = 5.0, mixed_formats: bool = False) -> None:
        self.weight, self.mixed_formats = weight, mixed_formats

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        boxes = cxcywh_to_xyxy(outputs.boxes) if self.mixed_formats else outputs.boxes
        return self.weight * torch.cdist(boxes, targets.boxes.to(boxes.dtype), p=1)


@TASK_UTILS.register_module()
class GIoUCost:
    """Negative generalized IoU of the boxes; rotated boxes are compared without their rotation, as published."""

    def __init__(self, *, weight: float = 2.0) -> None:
        self.weight = weight

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        target = cxcywh_to_xyxy(targets.boxes.to(outputs.boxes.dtype))
        return -self.weight * generalized_box_iou(cxcywh_to_xyxy(outputs.boxes), target)


@TASK_UTILS.register_module()
class AngleCost:
    """Mean over the bins of the binary cross entropy of the angle, with more weight for elongated objects."""

    def __init__(self, *, weight: float = 2.0) -> None:
        self.weight = weight

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        x = outputs.angle_logits
        wanted = targets.angles.to(x.dtype).transpose(1, 2)  # (B, 180, T)
        entropy = F.softplus(x).mean(-1, keepdim=True) - (x / NUM_BINS) @ wanted  # softplus(x) - x * t is the BCE
        return self.weight * entropy * targets.elongation.to(x.dtype)[:, None]


# --- losses: (N,) for Pairs ------------------------------------------------------------------------------------------


@MODELS.register_module()
class BoxL1Loss(nn.Module):
    """Sum of the absolute differences of cx, cy, w and h, in relative coordinates."""

    name = "loss_bbox"

    def __init__(self, *, weight: float = 5.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, pairs: Pairs) -> Tensor:
        return self.weight * (pairs.boxes - pairs.target_boxes).abs().sum(-1)


@MODELS.register_module()
class BoxGIoULoss(nn.Module):
    """1 - generalized IoU; rotated boxes are compared without their rotation, as published."""

    name = "loss_iou"

    def __init__(self, *, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, pairs: Pairs) -> Tensor:
        a, b = cxcywh_to_xyxy(pairs.boxes), cxcywh_to_xyxy(pairs.target_boxes)
        return self.weight * (1 - generalized_box_iou(a[:, None], b[:, None]).flatten())


@MODELS.register_module()
class AngleLoss(nn.Module):
    """Mean over the bins of the binary cross entropy of the angle, with more weight for elongated objects."""

    name = "loss_angle"

    def __init__(self, *, weight: float = 2.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, pairs: Pairs) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(pairs.angle_logits, pairs.angles, reduction="none").mean(-1)
        return self.weight * pairs.elongation * entropy


# --- classification --------------------------------------------------------------------------------------------------


def focal_positive(logits: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return the focal losses of logits (...) for the target 1."""
    return alpha * (1 - logits.sigmoid()) ** gamma * F.softplus(-logits)


def focal_negative(logits: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return the focal losses of logits (...) for the target 0."""
    return (1 - alpha) * logits.sigmoid() ** gamma * F.softplus(logits)
