"""Mask2Former with the published optimizer: AdamW, a tenth of the rate for the backbone, gradients clipped at 0.01.

Norms and embeddings are not decayed, biases are. Published in mixed precision (--amp) with 16 images an iteration.
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
