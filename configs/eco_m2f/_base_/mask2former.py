"""Mask2Former and the published recipe that all its runs share: AdamW, a tenth of the rate for the backbone, clipping.

A leaf adds data and a backbone. Everything is counted in iterations. As published, the batch norms of ResNets are
frozen, norms and embeddings get no weight decay, biases do, and training is in mixed precision (--amp).
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import AdamW

from vislab.datasets.samplers import EpochSampler, InfiniteSampler
from vislab.engine.hooks import CheckpointHook
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.engine.optim.schedulers import RelativeMultiStepLR
from vislab.models.mask2former import Mask2Former
from vislab.models.preprocessor import ImagePreprocessor
from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from ..._base_.default_runtime import *

model = dict(
    type=Mask2Former,
    backbone=dict(type=TimmEncoder, name="resnet50.tv_in1k", pretrained=False, frozen_norms=True),
    num_classes=133,
    thing_classes=80,
    tasks=("panoptic", "instance", "semantic"),
    rle_masks=True,
    data_preprocessor=dict(
        type=ImagePreprocessor, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size_divisor=32
    ),
)

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    drop_last=True,
)
val_dataloader = dict(
    batch_size=1, num_workers=4, persistent_workers=True, sampler=dict(type=EpochSampler, shuffle=False)
)
test_dataloader = dict(
    batch_size=1, num_workers=4, persistent_workers=True, sampler=dict(type=EpochSampler, shuffle=False)
)

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,
    paramwise_cfg=dict(
        layer_decay=1.0,
        decay_bias=True,
        lr_mult={"backbone": 0.1},
        decay_mult={"decoder.query_feat": 0.0, "decoder.query_embed": 0.0, "decoder.level_embed": 0.0},
    ),
    clip_grad=dict(max_norm=0.01, norm_type=2),
)
# after 327778 and 355092 of the published 368750 iterations
param_scheduler = [dict(type=RelativeMultiStepLR, milestones=(8 / 9, 0.962961), gamma=0.1, by_epoch=False)]
train_cfg = dict(by_epoch=False, max_iters=368750, val_interval=5000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=16)

log_processor.update(by_epoch=False)
default_hooks.update(checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=5000, max_keep_ckpts=2))
