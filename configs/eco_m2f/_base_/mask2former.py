"""Mask2Former with the published optimizer: AdamW, learning rate x 0.1 for the backbone, gradients clipped to 0.01.

Norms and embeddings have no weight decay, biases do. Published with mixed precision (--amp), 16 images per iteration.
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.models.mask2former import *
    from ..._base_.schedules.adamw import *

optim_wrapper["paramwise_cfg"].update(
    decay_bias=True,
    lr_mult={"backbone": 0.1},
    decay_mult={"decoder.query_feat": 0.0, "decoder.query_embed": 0.0, "decoder.level_embed": 0.0},
)
optim_wrapper.update(clip_grad=dict(max_norm=0.01, norm_type=2))
