"""Changes for a Swin-T: FFN of 2048 channels, no dropout, 900 queries of which the best 500 detections are kept."""

from mmengine.config import read_base

from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from .rotated import *

model["backbone"] = dict(
    type=TimmEncoder,
    name="swin_tiny_patch4_window7_224.ms_in1k",
    pretrained=False,
    out_indices=(1, 2, 3),
    out_norm="layer",
    frozen_stages=2,
)
model.update(num_queries=900)
model["encoder"].update(ffn_dim=2048, dropout=0.0)
model["decoder"].update(ffn_dim=2048, dropout=0.0)
model["inference"].update(max_instances=500)
