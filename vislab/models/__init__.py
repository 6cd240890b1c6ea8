"""Models and shared parts of models."""

from vislab.models import (
    batch_augment,
    classifier,
    deformable_detr,
    dense,
    dense_inference,
    encoder_classifier,
    encoders,
    fpn,
    mask2former,
    preprocessor,
)

__all__ = [
    "batch_augment",
    "classifier",
    "deformable_detr",
    "dense",
    "dense_inference",
    "encoder_classifier",
    "encoders",
    "fpn",
    "mask2former",
    "preprocessor",
]
