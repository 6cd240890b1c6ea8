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
from torch.nn.utils.rnn import pad_sequence

from vislab.layers.recompute import recompute
from vislab.models.set_criterion import Matches, class_losses, match_outputs, mean_count, name_outputs
from vislab.ops.point_sample import point_sample, point_sample_maps, point_sample_rows
from vislab.registry import MODELS

# on the CPU, and on an accelerator, where few large operations are faster
_ROWS = (16, 128)  # number of masks whose candidate points are processed together
_ELEMENTS = (1 << 20, 1 << 24)  # of the matching costs (L, Q, P) that are computed together


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
            logits = torch.stack([_wide(x) for x in class_logits])  # (L, B, Q, C + 1)
            embeddings = torch.stack([_wide(x) for x in embeddings])  # (L, B, Q, D)
            features = _wide(mask_features)
            kept, matches = self.assign(logits, embeddings, features, targets)
            labels = pad_sequence([target.labels for target in targets], batch_first=True)  # (B, T)
            classes = class_losses(logits, labels, matches, no_object_weight=self.no_object_weight)
            bce, dice = self._mask_losses(embeddings, features, targets, kept, matches)
        parts = {"loss_cls": self.class_weight * classes, "loss_mask": self.mask_weight * bce}
        parts = {name: values.unbind() for name, values in (parts | {"loss_dice": self.dice_weight * dice}).items()}
        return name_outputs([{name: values[i] for name, values in parts.items()} for i in range(len(logits))])

    @torch.no_grad()
    def assign(
        self, logits: Tensor, embeddings: Tensor, features: Tensor, targets: Sequence[Target]
    ) -> tuple[list[np.ndarray], Matches]:
        """Return the indices of the objects among the targets of each image, and the matched pairs.

        All costs and states are copied from the device together.
        """
        states = [t.labels.new_ones(len(t.labels)) if t.state is None else t.state for t in targets]
        costs = self.costs(logits, embeddings, features, targets)
        counts = [len(state) for state in states]
        kept, (matches,) = match_outputs([costs], pad_sequence(states, batch_first=True), counts, logits.shape[3] - 1)
        return kept, matches

    def costs(self, logits: Tensor, embeddings: Tensor, features: Tensor, targets: Sequence[Target]) -> Tensor:
        """Return the matching costs (L, B, Q, T), T the largest number of targets of an image, others with any cost.

        Args:
            logits: (L, B, Q, C + 1).
            embeddings: (L, B, Q, D).
            features: (B, D, h, w).
            targets: B targets.
        """
        outputs, images, queries, _ = logits.shape
        counts = [len(target.labels) for target in targets]
        costs = logits.new_zeros(outputs, images, queries, max(counts))
        filled = [i for i, count in enumerate(counts) if count]
        points = torch.rand(outputs * len(filled), self.num_points, 2, device=logits.device).to(logits.dtype)
        points = points.view(outputs, len(filled), *points.shape[1:])
        together = max(1, _ELEMENTS[logits.device.type != "cpu"] // (queries * self.num_points))
        for place, i in enumerate(filled):
            for start in range(0, outputs, together):
                part = slice(start, start + together)
                found = self._cost(logits[part, i], embeddings[part, i], features[i], targets[i], points[part, place])
                costs[part, i, :, : counts[i]] = found
        return costs

    def _cost(self, logits: Tensor, embeddings: Tensor, features: Tensor, target: Target, points: Tensor) -> Tensor:
        """Return the matching costs (L, Q, T) of the outputs of one image at their points (L, P, 2)."""
        outputs, count, _ = points.shape
        truth = point_sample(target.masks, points.reshape(1, -1, 2)).to(logits.dtype).view(-1, outputs, count)
        truth = truth.permute(1, 2, 0)  # (L, P, T)
        x = self._at_points(embeddings, features, points)  # (L, Q, P)
        # sum of BCE = softplus(x) - x * t; divided by P before the product to keep values small
        bce = F.softplus(x).mean(2, keepdim=True) - (x / count) @ truth
        probability = x.sigmoid_()
        overlap = 2 * (probability @ truth) + 1
        dice = 1 - overlap / (probability.sum(2, keepdim=True) + truth.sum(1, keepdim=True) + 1)
        chosen = logits.softmax(-1)[:, :, target.labels]
        return self.mask_weight * bce + self.dice_weight * dice - self.class_weight * chosen

    @staticmethod
    def _at_points(embeddings: Tensor, features: Tensor, points: Tensor) -> Tensor:
        """Return mask logits (L, Q, P), by sampling before or after the product, whichever is faster."""
        outputs, count, _ = points.shape
        if features.shape[1] * features.shape[2] < count:
            masks = (embeddings @ features.flatten(1)).unflatten(2, features.shape[1:])  # (L, Q, h, w)
            return point_sample_maps(masks, points)
        rows = point_sample_rows(features, points.flatten(0, 1)).view(outputs, count, -1)  # (L, P, D)
        return embeddings @ rows.mT

    def _mask_losses(
        self,
        embeddings: Tensor,
        features: Tensor,
        targets: Sequence[Target],
        kept: Sequence[np.ndarray],
        matches: Matches,
    ) -> tuple[Tensor, Tensor]:
        """Return BCE and dice losses (L,), summed over masks and divided by the mean number of masks per process."""
        outputs, queries = len(matches), embeddings.shape[2]
        count = mean_count(sum(len(rows) for rows in kept), features.device)
        # without masks the losses are 0, with zero gradients for all parameters
        nothing = embeddings.new_zeros(outputs) + 0 * (embeddings.sum() + features.sum())
        sizes = [min(queries, len(rows)) for rows in kept]
        chosen = matches.of(embeddings).split(sizes, dim=1)  # B of (L, N, D)
        logits, truths = [], []
        for image, objects in enumerate(matches.objects.split(sizes, dim=1)):
            if sizes[image]:
                x = chosen[image].flatten(0, 1) @ features[image].flatten(1)  # (L * N, h * w)
                x = x.unflatten(1, features.shape[2:])
                points = self._choose_points(x.detach())
                truths.append(_truth(targets[image].masks, objects.flatten(), points))
                logits.append(point_sample(x, points).view(outputs, sizes[image], -1))  # (L, N, P)
        if not logits:
            return nothing, nothing
        x, truth = (torch.cat([part.view(outputs, -1, self.num_points) for part in x], 1) for x in (logits, truths))
        bce, dice = recompute(_row_losses, x, truth)
        return (nothing + bce.sum(1)) / count, (nothing + dice.sum(1)) / count

    @torch.no_grad()
    def _choose_points(self, x: Tensor) -> Tensor:
        """Return points (R, num_points, 2) for logits (R, h, w), mostly at uncertain positions with logits near 0."""
        certain = int(self.importance_sample_ratio * self.num_points)
        chosen = []
        for rows in x.split(_ROWS[x.device.type != "cpu"]):
            candidates = torch.rand(len(rows), int(self.num_points * self.oversample_ratio), 2, device=x.device).to(
                x.dtype
            )
            distance = point_sample(rows, candidates).abs_()
            nearest = distance.topk(certain, dim=1, largest=False, sorted=False).indices
            anywhere = torch.rand(len(rows), self.num_points - certain, 2, device=x.device).to(x.dtype)
            chosen.append(torch.cat((candidates.gather(1, nearest[..., None].expand(-1, -1, 2)), anywhere), dim=1))
        return torch.cat(chosen)


@torch.no_grad()
def _truth(masks: Tensor, objects: Tensor, points: Tensor) -> Tensor:
    """Return the values (R, P) of the masks (T, H, W) of `objects` (R,) at points (R, P, 2)."""
    step = max(1, (1 << 24) // masks[0].numel())
    parts = zip(objects.split(step), points.split(step), strict=True)
    return torch.cat([point_sample(masks[rows].to(place.dtype), place) for rows, place in parts])


def _row_losses(x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return BCE and dice losses (...) of logits and targets (..., P)."""
    probability = x.sigmoid()
    dice = 1 - (2 * (probability * truth).sum(-1) + 1) / (probability.sum(-1) + truth.sum(-1) + 1)
    return F.binary_cross_entropy_with_logits(x, truth, reduction="none").mean(-1), dice


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
