"""Labels of a batch as padded tensors, in the form that matching, losses and denoising use."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from vislab.errors import DataError
from vislab.models.deformable_detr.angles import angle_targets, elongation_weight
from vislab.models.deformable_detr.refinement import wide
from vislab.structures import DataSample
from vislab.structures.boxes import xyxy_to_cxcywh


@dataclass(frozen=True)
class Targets:
    """Objects of B images, padded to the largest number T of objects in an image.

    Attributes:
        counts: Number of entries of each image.
        labels: (B, T) int64, in the range of the classes also where `state` is not 1.
        boxes: (B, T, 4), cx, cy, w, h in relative coordinates of the image without padding, float32 or float64.
        theta: (B, T) angles in radians for rotated boxes.
        sizes: (B, 2), width and height of the images in pixels, without padding.
        state: (B, T) int64: 1 for objects, 0 for padding and for entries to skip (crowds), and -1 for labels out of
            range, which the criterion reports.
    """

    counts: tuple[int, ...]
    labels: Tensor
    boxes: Tensor
    theta: Tensor | None
    sizes: Tensor
    state: Tensor

    @cached_property
    def sides(self) -> Tensor:
        """Widths and heights (B, T, 2) of the boxes in pixels."""
        return self.boxes[..., 2:] * self.sizes[:, None]

    @cached_property
    def angles(self) -> Tensor:
        """Soft angle targets (B, T, 180)."""
        return angle_targets(self.theta, self.sides)

    @cached_property
    def elongation(self) -> Tensor:
        """Weights (B, T) of the angle losses."""
        return elongation_weight(self.sides)

    @cached_property
    def objects_only(self) -> "Targets":
        """The same targets with the class 0 for all objects."""
        found = replace(self, labels=torch.zeros_like(self.labels))
        if self.theta is not None:  # computed once
            vars(found).update(sides=self.sides, angles=self.angles, elongation=self.elongation)
        return found


def collect(
    samples: Sequence[DataSample] | None, inputs: Tensor, *, num_classes: int, rotated: bool, model: str
) -> Targets:
    """Return the targets of samples with gt_instances, on the device of `inputs` (B, C, H, W).

    Samples need labels, and bboxes, or rbboxes if `rotated`. Nothing is read from the device: wrong labels there are
    reported by the criterion.

    Raises:
        DataError: Labels or boxes are missing, differ in number, or are invalid.
    """
    if samples is None:
        raise DataError(f"{model} learns from data_samples, and there are none")
    key = "rbboxes" if rotated else "bboxes"
    labels, boxes, states, sizes = [], [], [], []
    for sample in samples:
        name = sample.get("img_path", "a sample")
        instances = sample.get("gt_instances")
        if instances is None or "labels" not in instances or key not in instances:
            raise DataError(
                f"{name} has no gt_instances with labels and {key}: "
                + (
                    "the data has no rotated boxes"
                    if rotated
                    else "put LoadAnnotations(with_bbox=True) into the pipeline"
                )
            )
        wanted = torch.ones_like(instances.labels, dtype=torch.bool)
        if "ignore" in instances:
            wanted = ~instances.ignore
        valid = (instances.labels >= 0) & (instances.labels < num_classes)
        labels.append(instances.labels.clamp(0, num_classes - 1))
        boxes.append(torch.where(wanted[:, None], wide(instances[key]), 0))  # entries to skip may be anything
        states.append(wanted * (2 * valid.long() - 1))
        height, width = sample.get("img_shape", inputs.shape[-2:])
        sizes.append((width, height))
        if instances.labels.device.type == "cpu":
            _check(name, instances.labels[wanted], boxes[-1][wanted], num_classes, rotated)
    counts = tuple(len(label) for label in labels)
    raw = _pad(boxes, counts).to(inputs.device)
    scale = torch.tensor(sizes, dtype=raw.dtype).to(inputs.device, non_blocking=True)  # (B, 2)
    upright = raw[..., :4] if rotated else xyxy_to_cxcywh(raw)
    return Targets(
        counts,
        _pad(labels, counts).to(inputs.device),
        upright / scale.repeat(1, 2)[:, None],
        raw[..., 4] if rotated else None,
        scale,
        _pad(states, counts).to(inputs.device),
    )


def _pad(values: list[Tensor], counts: tuple[int, ...]) -> Tensor:
    """Stack tensors (T_i, ...) as (B, max T_i, ...), padded with zeros."""
    longest = max(counts)
    return torch.stack([torch.cat((x, x.new_zeros(longest - len(x), *x.shape[1:]))) for x in values])


def _check(name: str, labels: Tensor, boxes: Tensor, num_classes: int, rotated: bool) -> None:
    outside = (labels < 0) | (labels >= num_classes)
    if bool(outside.any()):
        raise DataError(
            f"{name} has class {int(labels[outside][0])}, the model has {num_classes} (0..{num_classes - 1}): "
            "num_classes and the data disagree"
        )
    sides = boxes[:, 2:4] if rotated else boxes[:, 2:] - boxes[:, :2]
    bad = ~(boxes.isfinite().all(1) & (sides > 0).all(1))
    if rotated:
        bad |= boxes[:, 4].abs() > 3.2
    if bool(bad.any()):
        form = "(cx, cy, w, h, theta) with theta in radians" if rotated else "(x1, y1, x2, y2)"
        raise DataError(
            f"{name} has the box {[round(float(v), 3) for v in boxes[bad][0]]}, expected {form} and positive width and "
            "height: correct it, or mark it as ignored"
        )
