"""Deformable DETR: object detection with axis-aligned or rotated boxes.

    neck.py          maps of the backbone as tokens with positions, padding left out
    encoder.py       deformable self-attention over all levels
    proposals.py     first stage: objectness and a box per token
    queries.py       learned queries, or queries from boxes
    decoder.py       self- and cross-attention, box refinement (look forward once and twice)
    heads.py         class, box and angle heads
    angles.py        angle bins and soft targets (AR-CSL)
    refinement.py    boxes in relative coordinates
    denoising.py     contrastive denoising queries
    targets.py       labels of a batch
    costs.py         terms of the matching cost and of the losses
    rotated_costs.py terms that see the angle: corners, boxes as Gaussians
    criterion.py     matching and losses of all outputs
    inference.py     the best boxes in the original image
    convert.py       names of the weights in the official project and transformers
    model.py         DeformableDETR with modes loss | predict | tensor

Papers: Zhu et al., "Deformable DETR", arXiv 2010.04159; Zhang et al., "DINO", arXiv 2203.03605; Zeng et al.,
"ARS-DETR", arXiv 2303.04989.
"""

from vislab.models.deformable_detr.costs import (
    AngleCost,
    AngleLoss,
    BoxGIoULoss,
    BoxL1Loss,
    ClassCost,
    GIoUCost,
    L1Cost,
)
from vislab.models.deformable_detr.criterion import DetectionLoss
from vislab.models.deformable_detr.inference import BoxInference
from vislab.models.deformable_detr.model import DeformableDETR
from vislab.models.deformable_detr.rotated_costs import CornerCost, CornerLoss, GaussianCost, GaussianLoss

__all__ = [
    "AngleCost",
    "AngleLoss",
    "BoxGIoULoss",
    "BoxInference",
    "BoxL1Loss",
    "ClassCost",
    "CornerCost",
    "CornerLoss",
    "DeformableDETR",
    "DetectionLoss",
    "GIoUCost",
    "GaussianCost",
    "GaussianLoss",
    "L1Cost",
]
