"""Contrastive denoising (DINO): queries made from labels with noise, whose targets are known without matching."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.models.deformable_detr.decoder import Queries
from vislab.models.deformable_detr.targets import Targets
from vislab.structures.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh


@dataclass(frozen=True)
class Noised:
    """Denoising queries, which precede the other queries. D = groups * 2 * T slots per image, T as in Targets.

    Each group has T slots with small noise (positives), which should find their object, and T slots with more noise
    (negatives), which should find nothing.

    Attributes:
        content: (B, D, dim).
        reference: (B, D, 4 or 5).
        visible: (B or 1, D, D) bool, pairs of slots that may attend to each other.
        groups: Number of groups.
        weight: (B, D), 1 for slots that are trained and 0 for others.
    """

    content: Tensor
    reference: Tensor
    visible: Tensor
    groups: int
    weight: Tensor

    @property
    def count(self) -> int:
        """Number of slots per image."""
        return self.content.shape[1]

    def join(self, queries: Queries) -> Queries:
        """Return these and `queries`, which do not see each other."""
        own, others = self.count, queries.content.shape[1]
        mask = torch.zeros(
            len(self.visible), 1, own + others, own + others, dtype=torch.bool, device=self.visible.device
        )
        mask[:, 0, :own, :own] = self.visible
        mask[:, :, own:, own:] = True
        return Queries(
            torch.cat((self.content.to(queries.content.dtype), queries.content), dim=1),
            torch.cat((self.reference.to(queries.reference.dtype), queries.reference), dim=1),
            None,
            mask,
        )


class Denoising(nn.Module):
    """Makes denoising queries from the targets of a batch.

    Args:
        dim, num_classes: Channels and number of classes.
        num_queries: Number of positives; there are as many groups as fit, and at least one.
        label_noise: Probability that the label of a slot is replaced by a random one.
        box_noise: Largest shift of a side of a positive, relative to half the width or height; the shift of negatives
            is between this and twice this.
        angle_noise: Largest rotation in radians. The default of 1.8 degrees is the largest of the published noise,
            which is a factor and thus none at 0 degrees.
        mask_empty: Hide the slots of images with fewer objects than others in the batch. The published detector trains
            them as background.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_classes: int,
        num_queries: int = 100,
        label_noise: float = 0.25,
        box_noise: float = 0.4,
        angle_noise: float = 0.0314,
        mask_empty: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= label_noise <= 1 or box_noise < 0:
            raise ConfigError(f"Denoising: label_noise={label_noise} must be in [0, 1], box_noise={box_noise} positive")
        if not 0 <= angle_noise <= 1.6:
            raise ConfigError(f"Denoising: angle_noise={angle_noise} must be in radians, in [0, pi / 2]")
        self.num_classes, self.num_queries = num_classes, num_queries
        self.label_noise, self.box_noise, self.angle_noise = label_noise, box_noise, angle_noise
        self.mask_empty = mask_empty
        self.labels = nn.Embedding(num_classes, dim)

    def forward(self, targets: Targets) -> Noised | None:
        """Return the queries; None for a batch without objects."""
        most = targets.labels.shape[1]
        if most == 0:
            return None
        groups = max(1, self.num_queries // most)
        slots = 2 * most * groups
        labels = targets.labels.repeat(1, 2 * groups)  # (B, D)
        random = torch.randint_like(labels, self.num_classes)
        labels = torch.where(torch.rand(labels.shape, device=labels.device) < self.label_noise, random, labels)
        filled = (targets.state > 0).repeat(1, 2 * groups)
        group = torch.arange(slots, device=labels.device) // (2 * most)
        negative = torch.arange(slots, device=labels.device) // most % 2  # (D,)
        reference = self._boxes(targets.boxes.repeat(1, 2 * groups, 1), negative)
        if targets.theta is not None:
            theta = targets.theta.repeat(1, 2 * groups)
            theta = theta + self.angle_noise * (2 * torch.rand_like(theta) - 1)
            reference = torch.cat((reference, theta[..., None]), dim=-1)
        content = self.labels(labels) * filled[..., None]
        middle = torch.zeros_like(reference)
        middle[..., :4] = 0.5
        reference = torch.where(filled[..., None], reference, middle)
        visible = (group[:, None] == group)[None]  # (1, D, D)
        if self.mask_empty:  # an empty slot sees itself only, since attention to nothing is undefined
            visible = (visible & filled[:, None]) | torch.eye(slots, dtype=torch.bool, device=labels.device)
        weight = filled.float() if self.mask_empty else torch.ones_like(filled, dtype=torch.float32)
        return Noised(content, reference, visible, groups, weight)

    def _boxes(self, boxes: Tensor, negative: Tensor) -> Tensor:
        """Return boxes (B, D, 4) with shifted sides, inside the image; `negative` (D,) is 1 for negatives."""
        half = boxes[..., 2:].repeat(1, 1, 2) / 2
        sign = torch.randint_like(boxes, 2) * 2 - 1
        part = torch.rand_like(boxes) + negative[:, None]
        corners = cxcywh_to_xyxy(boxes) + sign * part * half * self.box_noise
        return xyxy_to_cxcywh(corners.clamp(0, 1))
