"""First stage of two-stage Deformable DETR: a box for each token, of which the best become the queries' references."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.models.deformable_detr.heads import DetectionHead, Detections
from vislab.models.deformable_detr.neck import Levels
from vislab.models.deformable_detr.refinement import inverse_sigmoid, wide
from vislab.ops.choices import best

_OUTSIDE = 1e4  # logit of anchors that are padding or too close to the border: the box (1, 1, 1, 1)


@dataclass(frozen=True)
class Candidates:
    """Tokens (B, S, dim) as inputs of the proposal head, and their anchors (1 or B, S, 4) in logit space."""

    tokens: Tensor
    anchors: Tensor


class ProposalHead(nn.Module):
    """Predicts objectness (the logit of class 0), a box and an angle for each token of the memory.

    Args:
        dim, num_classes, rotated: See DetectionHead.
        anchor_size: Width and height of the anchors of the finest level, relative to the image; doubled at each level.
    """

    def __init__(self, *, dim: int, num_classes: int, rotated: bool = False, anchor_size: float = 0.05) -> None:
        super().__init__()
        self.anchor_size = anchor_size
        self.output = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.head = DetectionHead(dim=dim, num_classes=num_classes, rotated=rotated)

    def anchors(self, levels: Levels) -> tuple[Tensor, Tensor]:
        """Return anchors (1 or B, S, 4) in logit space, and whether they are used (1 or B, S, 1) bool.

        Anchors of padding and those at the border are not.
        """
        centers = levels.centers if levels.centers.ndim == 3 else levels.centers[None]
        sizes = [centers.new_full((h * w, 2), self.anchor_size * 2.0**i) for i, (h, w) in enumerate(levels.shapes)]
        anchors = torch.cat((centers, torch.cat(sizes).expand(len(centers), -1, -1)), dim=-1)  # (1 or B, S, 4)
        valid = ((anchors > 0.01) & (anchors < 0.99)).all(-1, keepdim=True)
        if levels.mask is not None:
            valid = valid & levels.mask[..., None]
        return inverse_sigmoid(anchors).masked_fill(~valid, _OUTSIDE), valid

    def candidates(self, memory: Tensor, levels: Levels) -> Candidates:
        """Return the inputs of the head; padding and tokens whose anchor is at the border are 0 before the norm."""
        anchors, valid = self.anchors(levels)
        return Candidates(self.norm(self.output(memory.masked_fill(~valid, 0))), anchors)

    def objectness(self, candidates: Candidates) -> Tensor:
        """Return the objectness logits (B, S) without those of other classes."""
        layer = self.head.classes
        return F.linear(candidates.tokens, layer.weight[:1], layer.bias[:1])[..., 0]

    def forward(self, candidates: Candidates) -> Detections:
        """Return the predictions of candidates."""
        tokens = candidates.tokens
        delta = wide(self.head.boxes(tokens))
        with torch.autocast(tokens.device.type, enabled=False):
            boxes = (delta + candidates.anchors.to(delta.dtype)).sigmoid()
        return Detections(tokens, self.head.classes(tokens), boxes, self.head.angle_logits(tokens))


def choose(candidates: Candidates, scores: Tensor, count: int) -> tuple[Candidates, Tensor]:
    """Return the `count` candidates of each image with the highest scores (B, S), best first, and their indices."""
    rows = best(scores.detach(), min(count, scores.shape[1]))  # (B, K)
    anchors = candidates.anchors.expand(rows.shape[0], -1, -1)
    return Candidates(*(gather_rows(x, rows) for x in (candidates.tokens, anchors))), rows


def gather_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Return the rows (B, K, dim) of `x` (B, S, dim) with the indices (B, K)."""
    return x.gather(1, rows[..., None].expand(-1, -1, x.shape[2]))
