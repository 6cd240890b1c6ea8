"""Losses of Mask2Former: classification of all queries, and point-sampled mask losses of matched queries.

Masks are represented by embeddings and the map of stride 4. Matching needs all queries at few points, and the losses
need matched queries only, so the masks of all queries are never computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.layers.recompute import recompute
from vislab.models.set_criterion import Pairs, class_loss, match_outputs, mean_count, name_outputs
from vislab.ops.point_sample import point_sample, point_sample_rows
from vislab.registry import MODELS

_ROWS = 16  # number of masks whose candidate points are processed together


@dataclass(frozen=True)
class Target:
    """Labels of one image: classes (T,) int64 and masks (T, H, W), bool or uint8, in the frame of the padded input.

    To avoid synchronization with an accelerator, `state` (T,) may mark entries: 1 for targets, 0 for entries to skip
    (crowds, empty masks), and -1 for classes out of range. None: all are targets.
    """

    labels: Tensor
    masks: Tensor
    state: Tensor | None = None


@MODELS.register_module()
class Mask2FormerLoss(nn.Module):
    """Cross entropy, point BCE and point dice losses of each decoder output, with separate bipartite matching.

    Args:
        class_weight, mask_weight, dice_weight: Weights of the three losses and of the terms of the matching cost.
        no_object_weight: Weight of "no object" in the cross entropy.
        num_points: Number of points per mask.
        oversample_ratio: Number of candidates per point.
        importance_sample_ratio: Fraction of points chosen from the most uncertain candidates; the others are uniform.
    """

    def __init__(
        self,
        *,
        class_weight: float = 2.0,
        mask_weight: float = 5.0,
        dice_weight: float = 5.0,
        no_object_weight: float = 0.1,
        num_points: int = 12544,
        oversample_ratio: float = 3.0,
        importance_sample_ratio: float = 0.75,
    ) -> None:
        super().__init__()
        self.class_weight, self.mask_weight, self.dice_weight = class_weight, mask_weight, dice_weight
        self.num_points, self.oversample_ratio, self.importance_sample_ratio = (
            num_points,
            oversample_ratio,
            importance_sample_ratio,
        )
        self.no_object_weight = no_object_weight

    def forward(
        self,
        class_logits: Sequence[Tensor],
        embeddings: Sequence[Tensor],
        mask_features: Tensor,
        targets: Sequence[Target],
    ) -> dict[str, Tensor]:
        """Compute the losses of L outputs in float32.

        Args:
            class_logits: L tensors (B, Q, num_classes + 1), with the final output last.
            embeddings: L tensors (B, Q, D).
            mask_features: (B, D, h, w).
            targets: B targets.

        Returns:
            Weighted loss_cls, loss_mask and loss_dice of the final output, and of output i as d<i>.loss_cls etc.
        """
        with torch.autocast(mask_features.device.type, enabled=False):
            logits = [_wide(x) for x in class_logits]
            embeddings = torch.stack([_wide(x) for x in embeddings], dim=1)  # (B, L, Q, D)
            features = _wide(mask_features)
            targets, pairs = self.assign(logits, embeddings, features, targets)
            labels = [target.labels for target in targets]
            class_losses = [
                class_loss(x, labels, matched, no_object_weight=self.no_object_weight)
                for x, matched in zip(logits, pairs, strict=True)
            ]
            mask_losses, dice_losses = self._mask_losses(embeddings, features, targets, pairs)
        return name_outputs(
            [
                {
                    "loss_cls": self.class_weight * class_losses[i],
                    "loss_mask": self.mask_weight * mask_losses[i],
                    "loss_dice": self.dice_weight * dice_losses[i],
                }
                for i in range(len(logits))
            ]
        )

    @torch.no_grad()
    def assign(
        self, logits: Sequence[Tensor], embeddings: Tensor, features: Tensor, targets: Sequence[Target]
    ) -> tuple[list[Target], list[Pairs]]:
        """Return the targets without skipped entries, and matched (queries, targets) in lists by output and image.

        All costs and states are copied from the device together.
        """
        costs = [
            [self._cost(x[i], embeddings[i, output], features[i], target) for i, target in enumerate(targets)]
            for output, x in enumerate(logits)
        ]
        states = [t.labels.new_ones(len(t.labels)) if t.state is None else t.state for t in targets]
        kept, pairs = match_outputs(costs, states, logits[0].shape[2] - 1)
        return [_only(target, rows) for target, rows in zip(targets, kept, strict=True)], pairs

    def _cost(self, logits: Tensor, embeddings: Tensor, features: Tensor, target: Target) -> Tensor:
        """Return the matching costs (Q, T) of one output of one image."""
        if len(target.labels) == 0:
            return logits.new_zeros(len(logits), 0)
        points = torch.rand(1, self.num_points, 2, device=logits.device).to(logits.dtype)
        truth = point_sample(target.masks, points).to(logits.dtype)  # (T, P)
        x = self._at_points(embeddings, features, points[0])  # (Q, P)
        probability = x.sigmoid()
        # sum of BCE = softplus(x) - x * t; divided by P before the product to keep values small
        bce = F.softplus(x).mean(1)[:, None] - (x / x.shape[1]) @ truth.T
        overlap = 2 * (probability @ truth.T) + 1
        dice = 1 - overlap / (probability.sum(1)[:, None] + truth.sum(1) + 1)
        chosen = logits.softmax(-1)[:, target.labels]
        return self.mask_weight * bce + self.dice_weight * dice - self.class_weight * chosen

    @staticmethod
    def _at_points(embeddings: Tensor, features: Tensor, points: Tensor) -> Tensor:
        """Return mask logits (Q, P), by sampling before or after the product, whichever is faster."""
        if features.shape[1] * features.shape[2] < len(points):
            masks = (embeddings @ features.flatten(1)).unflatten(1, features.shape[1:])
            return point_sample_rows(masks, points).T
        return embeddings @ point_sample_rows(features, points).T

    def _mask_losses(
        self, embeddings: Tensor, features: Tensor, targets: Sequence[Target], pairs: list
    ) -> tuple[Tensor, Tensor]:
        """Return BCE and dice losses (L,), summed over masks and divided by the mean number of masks per process."""
        outputs = len(pairs)
        count = mean_count(sum(len(t.labels) for t in targets), features.device)
        # without masks the losses are 0, with zero gradients for all parameters
        bce = embeddings.new_zeros(outputs) + 0 * (embeddings.sum() + features.sum())
        dice = bce
        for image, target in enumerate(targets):
            matched = [pairs[output][image] for output in range(outputs)]
            if matched[0][0].numel() == 0:
                continue
            chosen = torch.cat([embeddings[image, output, rows] for output, (rows, _) in enumerate(matched)])
            x = (chosen @ features[image].flatten(1)).unflatten(1, features.shape[2:])  # (L * T, h, w)
            points = self._choose_points(x.detach())
            truth = self._truth(target, [columns for _, columns in matched], points, x.dtype)
            x = point_sample(x, points)  # (L * T, P)
            row_bce, row_dice = recompute(_row_losses, x, truth)
            bce = bce + row_bce.view(outputs, -1).sum(1)
            dice = dice + row_dice.view(outputs, -1).sum(1)
        return bce / count, dice / count

    @torch.no_grad()
    def _truth(self, target: Target, columns: list[Tensor], points: Tensor, dtype: torch.dtype) -> Tensor:
        masks = target.masks
        if masks.numel() <= 1 << 24:
            masks = masks.to(dtype)  # once for all outputs
        parts = points.view(len(columns), -1, *points.shape[1:])
        return torch.cat([point_sample(masks[c], p).to(dtype) for c, p in zip(columns, parts, strict=True)])

    @torch.no_grad()
    def _choose_points(self, x: Tensor) -> Tensor:
        """Return points (R, num_points, 2) for logits (R, h, w), mostly at uncertain positions with logits near 0."""
        certain = int(self.importance_sample_ratio * self.num_points)
        chosen = []
        for rows in x.split(_ROWS):
            candidates = torch.rand(len(rows), int(self.num_points * self.oversample_ratio), 2, device=x.device).to(
                x.dtype
            )
            distance = point_sample(rows, candidates).abs_()
            nearest = distance.topk(certain, dim=1, largest=False, sorted=False).indices
            anywhere = torch.rand(len(rows), self.num_points - certain, 2, device=x.device).to(x.dtype)
            chosen.append(torch.cat((candidates.gather(1, nearest[..., None].expand(-1, -1, 2)), anywhere), dim=1))
        return torch.cat(chosen)


def _only(target: Target, rows: np.ndarray) -> Target:
    if len(rows) == len(target.labels):
        return Target(target.labels, target.masks)
    index = torch.from_numpy(rows).to(target.labels.device, non_blocking=True)
    return Target(target.labels[index], target.masks[index])


def _row_losses(x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return BCE and dice losses (R,) of logits and targets (R, P)."""
    probability = x.sigmoid()
    dice = 1 - (2 * (probability * truth).sum(1) + 1) / (probability.sum(1) + truth.sum(1) + 1)
    return F.binary_cross_entropy_with_logits(x, truth, reduction="none").mean(1), dice


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
