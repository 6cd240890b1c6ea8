"""Losses of Deformable DETR: all outputs of a step are matched together, with one copy to the host."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.layers.recompute import recompute
from vislab.models.base import build_part
from vislab.models.deformable_detr.costs import (
    AngleCost,
    AngleLoss,
    BoxGIoULoss,
    BoxL1Loss,
    ClassCost,
    GIoUCost,
    L1Cost,
    Outputs,
    Pairs,
    focal_negative,
    focal_positive,
)
from vislab.models.deformable_detr.denoising import Noised
from vislab.models.deformable_detr.heads import Detections
from vislab.models.deformable_detr.refinement import wide
from vislab.models.deformable_detr.targets import Targets
from vislab.models.set_criterion import Matches, match_outputs, mean_count, name_outputs
from vislab.registry import MODELS, TASK_UTILS


@MODELS.register_module()
class DetectionLoss(nn.Module):
    """Focal loss of all queries, and box losses of matched pairs, for each output.

    Sums over queries and pairs are divided by the number of objects in the batch.

    Args:
        class_weight, alpha, gamma: Weight and parameters of the focal loss.
        costs: Terms of the matching cost, as objects or configs. Default: ClassCost, L1Cost and GIoUCost with the
            weights 2, 5 and 2; for `rotated`, with 2, 2 and 5, and AngleCost with 2.
        losses: Terms of the losses of pairs. Default: as the costs.
        rotated: Use the defaults for rotated boxes.

    Raises:
        ConfigError: The terms do not fit `rotated`: without AngleLoss, predicted angles would stay random.
    """

    def __init__(
        self,
        *,
        class_weight: float = 2.0,
        alpha: float = 0.25,
        gamma: float = 2.0,
        costs: Sequence[dict] | None = None,
        losses: Sequence[dict] | None = None,
        rotated: bool = False,
    ) -> None:
        super().__init__()
        self.class_weight, self.alpha, self.gamma = class_weight, alpha, gamma
        if costs is None:
            costs = [ClassCost(), L1Cost(), GIoUCost()]
            if rotated:
                costs = [ClassCost(), L1Cost(weight=2.0), GIoUCost(weight=5.0), AngleCost()]
        if losses is None:
            losses = [BoxL1Loss(), BoxGIoULoss()]
            if rotated:
                losses = [BoxL1Loss(weight=2.0), BoxGIoULoss(weight=5.0), AngleLoss()]
        self.costs = [build_part(cost, ClassCost, TASK_UTILS) for cost in costs]
        self.losses = nn.ModuleList(build_part(loss, BoxL1Loss) for loss in losses)
        angles = [
            type(term).__name__ for term in (*self.costs, *self.losses) if isinstance(term, (AngleCost, AngleLoss))
        ]
        if rotated and "AngleLoss" not in angles:
            raise ConfigError("DetectionLoss: rotated boxes need AngleLoss among `losses`, or angles are not learned")
        if angles and not rotated:
            raise ConfigError(f"DetectionLoss: {angles[0]} needs angles: set rotated=True in the model, or remove it")

    def forward(
        self,
        outputs: Sequence[Detections],
        targets: Targets,
        proposals: Detections | None = None,
        denoised: Sequence[Detections] = (),
        noised: Noised | None = None,
    ) -> dict[str, Tensor]:
        """Compute the weighted losses in float32 or float64.

        Args:
            outputs: Predictions of the decoder layers, last one last.
            targets: Objects of the batch.
            proposals: Predictions of the first stage for all tokens, which learn objectness in class 0.
            denoised: Predictions of the decoder layers for the denoising queries `noised`.
            noised: The denoising queries.

        Returns:
            loss_cls and the losses of pairs (loss_bbox, ...) of the last layer, of layer i as d<i>.loss_cls etc., and
            those of proposals and denoising queries with the prefixes "enc." and "dn.".
        """
        groups = [outputs] if proposals is None else [outputs, [proposals]]
        matched = self.match(groups, targets)
        losses = self.output_losses(outputs, targets, matched[0])
        if proposals is not None:
            losses |= self.proposal_losses(proposals, targets, matched[1])
        if noised is not None:
            losses |= self.denoising_losses(denoised, targets, noised, matched[0].images.shape[1])
        return losses

    @torch.no_grad()
    def match(self, groups: Sequence[Sequence[Detections]], targets: Targets, proposals_from: int = 1) -> list[Matches]:
        """Match each output of some groups to the targets; groups from `proposals_from` are matched by objectness.

        All costs are copied from the device together.

        Raises:
            DataError: A label is out of range.
            TrainingError: A cost is not finite.
        """
        with torch.autocast(targets.boxes.device.type, enabled=False):
            costs = [
                self._cost(stack(outputs), targets.objects_only if i >= proposals_from else targets)
                for i, outputs in enumerate(groups)
            ]
        return match_outputs(costs, targets.state, targets.counts, groups[0][0].logits.shape[2])[1]

    def _cost(self, outputs: Outputs, targets: Targets) -> Tensor:
        """Return the costs (L, B, Q, T)."""
        return sum(cost(outputs, targets) for cost in self.costs)

    def output_losses(self, outputs: Sequence[Detections], targets: Targets, matched: Matches) -> dict[str, Tensor]:
        """Return the losses of the outputs by name."""
        return name_outputs(self._losses(outputs, targets, matched))

    def proposal_losses(self, proposals: Detections, targets: Targets, matched: Matches) -> dict[str, Tensor]:
        """Return the losses of the proposals, with the prefix "enc."."""
        losses = self._losses([proposals], targets.objects_only, matched)[0]
        return {f"enc.{name}": value for name, value in losses.items()}

    def _losses(self, outputs: Sequence[Detections], targets: Targets, matched: Matches) -> list[dict[str, Tensor]]:
        stacked = stack(outputs)
        with torch.autocast(stacked.boxes.device.type, enabled=False):
            images, objects = matched.images.flatten(), matched.objects.flatten()  # (L * N,)
            count = mean_count(matched.images.shape[1], images.device)
            angles = stacked.angle_logits
            pairs = _pairs(
                matched.of(stacked.boxes).flatten(0, 1),
                None if angles is None else matched.of(angles).flatten(0, 1),
                targets,
                (images, objects),
            )
            classes = self._negatives(stacked.logits).flatten(1).sum(1)  # all queries as background
            chosen = matched.of(stacked.logits).flatten(0, 1).gather(1, targets.labels[images, objects][:, None])[:, 0]
            classes = classes + self._corrections(chosen, len(matched))
            return self._by_layer(classes, pairs, None, count, len(matched))

    def denoising_losses(
        self, denoised: Sequence[Detections], targets: Targets, noised: Noised, objects: int
    ) -> dict[str, Tensor]:
        """Return the losses of the denoising queries, with the prefix "dn."; `objects` is their number in the batch."""
        stacked = stack(denoised)
        most = targets.labels.shape[1]
        outputs, batch = stacked.boxes.shape[:2]

        def positives(x: Tensor) -> Tensor:
            """Return the positives among the slots: (L, B, D, ...) to (L * B * groups * T, ...)."""
            return x.unflatten(2, (noised.groups, 2, most))[:, :, :, 0].flatten(0, 3)

        with torch.autocast(stacked.boxes.device.type, enabled=False):
            image = torch.arange(batch, device=stacked.boxes.device).view(1, -1, 1, 1)
            entry = torch.arange(most, device=image.device)
            shape = (outputs, batch, noised.groups, most)
            images, objects_of = (x.expand(shape).flatten() for x in (image, entry))
            filled = (targets.state > 0)[images, objects_of]
            angle_logits = stacked.angle_logits
            pairs = _pairs(
                positives(stacked.boxes),
                None if angle_logits is None else positives(angle_logits),
                targets,
                (images, objects_of),
            )
            count = mean_count(objects * noised.groups, image.device)
            classes = (self._negatives(stacked.logits) * noised.weight[..., None]).flatten(1).sum(1)
            chosen = positives(stacked.logits).gather(1, targets.labels[images, objects_of][:, None])[:, 0]
            classes = classes + self._corrections(chosen, outputs, filled)
            losses = self._by_layer(classes, pairs, filled, count, outputs)
        return {f"dn.{name}": value for name, value in name_outputs(losses).items()}

    def _negatives(self, logits: Tensor) -> Tensor:
        return recompute(lambda x: focal_negative(x, self.alpha, self.gamma), logits)

    def _corrections(self, chosen: Tensor, outputs: int, filled: Tensor | None = None) -> Tensor:
        """Return the change of the focal loss (L,) if the chosen logits (L * N,) have the target 1 instead of 0."""
        positive, negative = (f(chosen, self.alpha, self.gamma) for f in (focal_positive, focal_negative))
        change = positive - negative
        return (change if filled is None else change * filled).view(outputs, -1).sum(1)

    def _by_layer(
        self, classes: Tensor, pairs: Pairs, filled: Tensor | None, count: Tensor, outputs: int
    ) -> list[dict[str, Tensor]]:
        """Return the losses of each output from class losses (L,) and pairs (L * N)."""
        sums = {"loss_cls": self.class_weight * classes}
        for loss in self.losses:
            value = loss(pairs)
            value = value if filled is None else torch.where(filled, value, 0)
            sums[loss.name] = value.view(outputs, -1).sum(1)
        means = {name: (value / count).unbind() for name, value in sums.items()}
        return [{name: value[i] for name, value in means.items()} for i in range(outputs)]


def stack(outputs: Sequence[Detections]) -> Outputs:
    """Return the predictions of L layers in float32 or float64."""
    angles = None if outputs[0].angle_logits is None else torch.stack([wide(x.angle_logits) for x in outputs])
    return Outputs(torch.stack([wide(x.logits) for x in outputs]), torch.stack([x.boxes for x in outputs]), angles)


def _pairs(boxes: Tensor, angle_logits: Tensor | None, targets: Targets, place: tuple[Tensor, Tensor]) -> Pairs:
    """Return the pairs of predictions (N, ...) and the objects at (images, objects)."""
    truth, sizes = targets.boxes[place].to(boxes.dtype), targets.sizes[place[0]].to(boxes.dtype)
    if angle_logits is None:
        return Pairs(boxes, truth, sizes)
    rest = (x[place].to(boxes.dtype) for x in (targets.theta, targets.angles, targets.elongation))
    return Pairs(boxes, truth, sizes, angle_logits, *rest)
