"""Encoders: timm's models as sources of multi-scale feature maps, and a ViT for subsets of patches."""

from vislab.models.encoders import pyramid, timm_encoder, vit

__all__ = ["pyramid", "timm_encoder", "vit"]
