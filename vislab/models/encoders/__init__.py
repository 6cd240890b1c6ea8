"""Encoders: timm's models as sources of multi-scale feature maps."""

from vislab.models.encoders import timm_encoder

__all__ = ["timm_encoder"]
