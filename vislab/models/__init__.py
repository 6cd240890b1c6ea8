"""Published architectures and parts of models with two users or more."""

from vislab.models import dense, dense_inference, fpn, preprocessor, timm_encoder

__all__ = ["dense", "dense_inference", "fpn", "preprocessor", "timm_encoder"]
