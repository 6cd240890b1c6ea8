"""Matching costs and losses of rotated boxes that see the angle, to replace or join those of `costs` in a config.

Predicted angles are the most likely bins. The losses move them by the gradient of the mean angle under the predicted
distribution (`decode_angles_with_gradient`), and centers and sides as usual.
Published combinations: CornerCost(reduction="max") and GaussianCost and GaussianLoss of weight 5 in RHINO;
CornerCost, GaussianCost and GaussianLoss with their defaults in O2-RTDETR.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError, check_choice
from vislab.losses.rotated import bounded, corner_distance, kld, normalized_gwd
from vislab.models.deformable_detr.angles import decode_angles
from vislab.models.deformable_detr.costs import Outputs, Pairs
from vislab.models.deformable_detr.targets import Targets
from vislab.registry import MODELS, TASK_UTILS

_GAUSSIAN = {"kld": kld, "gwd": normalized_gwd}


def _pixels(outputs: Outputs, targets: Targets) -> tuple[Tensor, Tensor]:
    """Return rotated boxes in pixels of outputs (L, B, Q, 1, 5) and targets (B, 1, T, 5)."""
    if outputs.angle_logits is None or targets.theta is None:
        raise ConfigError("this matching cost compares rotated boxes: set rotated=True in the model, or remove it")
    scale = targets.sizes.to(outputs.boxes.dtype).repeat(1, 2)[:, None]  # (B, 1, 4)
    theta = decode_angles(outputs.angle_logits).to(outputs.boxes.dtype)
    predicted = torch.cat((outputs.boxes * scale, theta[..., None]), dim=-1)
    wanted = torch.cat((targets.boxes.to(scale.dtype) * scale, targets.theta.to(scale.dtype)[..., None]), dim=-1)
    return predicted[..., None, :], wanted[:, None]


def _check_gaussian(distance: str) -> None:
    check_choice("distance", distance, _GAUSSIAN)


@TASK_UTILS.register_module()
class GaussianCost:
    """1 - 1 / (1 + ln(1 + D)) with a distance D of rotated boxes as Gaussians, in [0, weight).

    Args:
        weight: Factor.
        distance: "kld" (Kullback-Leibler divergence) or "gwd" (normalized Wasserstein distance).
    """

    def __init__(self, *, weight: float = 2.0, distance: Literal["kld", "gwd"] = "kld") -> None:
        _check_gaussian(distance)
        self.weight, self.distance = weight, _GAUSSIAN[distance]

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        return self.weight * bounded(self.distance(*_pixels(outputs, targets)))


@TASK_UTILS.register_module()
class CornerCost:
    """Distance of the corners of rotated boxes relative to the image; it has no jump at any angle or for squares.

    Args:
        weight: Factor.
        reduction: "max" of the distances to the nearest corner (Hausdorff) or their "mean" (Chamfer).
    """

    def __init__(self, *, weight: float = 5.0, reduction: Literal["mean", "max"] = "mean") -> None:
        _check_reduction(reduction)
        self.weight, self.reduction = weight, reduction

    def __call__(self, outputs: Outputs, targets: Targets) -> Tensor:
        scale = targets.sizes.to(outputs.boxes.dtype)[:, None, None]  # (B, 1, 1, 2)
        return self.weight * corner_distance(*_pixels(outputs, targets), reduction=self.reduction, scale=scale)


@MODELS.register_module()
class GaussianLoss(nn.Module):
    """1 - 1 / (1 + ln(1 + D)) with a distance D of rotated boxes as Gaussians; arguments as in GaussianCost."""

    name = "loss_gaussian"

    def __init__(self, *, weight: float = 2.0, distance: Literal["kld", "gwd"] = "kld") -> None:
        super().__init__()
        _check_gaussian(distance)
        self.weight, self.distance = weight, _GAUSSIAN[distance]

    def forward(self, pairs: Pairs) -> Tensor:
        _require_angles(pairs)
        return self.weight * bounded(self.distance(pairs.rboxes, pairs.target_rboxes))


@MODELS.register_module()
class CornerLoss(nn.Module):
    """Distance of the corners of rotated boxes relative to the image; arguments as in CornerCost.

    The mean distance to nearest corners has local minima for thin boxes that are turned by more than their width;
    prefer "max" as a loss.
    """

    name = "loss_corner"

    def __init__(self, *, weight: float = 5.0, reduction: Literal["mean", "max"] = "mean") -> None:
        super().__init__()
        _check_reduction(reduction)
        self.weight, self.reduction = weight, reduction

    def forward(self, pairs: Pairs) -> Tensor:
        _require_angles(pairs)
        distance = corner_distance(pairs.rboxes, pairs.target_rboxes, reduction=self.reduction, scale=pairs.sizes)
        return self.weight * distance


def _check_reduction(reduction: str) -> None:
    check_choice("reduction", reduction, ("mean", "max"))


def _require_angles(pairs: Pairs) -> None:
    if pairs.angle_logits is None:
        raise ConfigError("this loss compares rotated boxes: set rotated=True in the model, or remove it")
