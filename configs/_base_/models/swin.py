"""Swin-T as a backbone: `model["backbone"] = backbone`. Larger ones have another `name`."""

from vislab.models.encoders.timm_encoder import TimmEncoder

backbone = dict(
    type=TimmEncoder,
    name="swin_tiny_patch4_window7_224.ms_in1k",
    pretrained=False,
    out_norm="layer",
    drop_path_rate=0.3,
)
