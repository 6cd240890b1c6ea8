"""Published architectures and parts of models with two users or more."""

from vislab.models import (
    batch_augment,
    classifier,
    dense,
    dense_inference,
    encoders,
    fpn,
    mask2former,
    preprocessor,
)

__all__ = [
    "batch_augment",
    "classifier",
    "dense",
    "dense_inference",
    "encoders",
    "fpn",
    "mask2former",
    "preprocessor",
]
