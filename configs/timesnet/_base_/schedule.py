"""What all timesNet runs share: AdamW, pre-trained parts at a tenth of the base rate, the output's at five times it.

A leaf adds data and the two timm models. Everything is counted in iterations.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import AdamW

from vislab.datasets.samplers import EpochSampler, InfiniteSampler
from vislab.engine.hooks import CheckpointHook
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.engine.optim.schedulers import WarmupCosineLR

with read_base():
    from ..._base_.default_runtime import *

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    drop_last=True,
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=EpochSampler, shuffle=False),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type=EpochSampler, shuffle=False),
)

optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=AdamW, lr=5e-4, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,
    paramwise_cfg=dict(
        layer_decay=1.0,
        lr_mult={
            "network.encoder": 0.1,
            "network.decoder": 0.1,
            "network.to_finest": 5.0,
            "network.reshape_out": 5.0,
        },
    ),
    clip_grad=dict(max_norm=10.0),
)
param_scheduler = [dict(type=WarmupCosineLR, warmup=0.02, by_epoch=False)]
train_cfg = dict(by_epoch=False, max_iters=80000, val_interval=8000)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=32)

log_processor.update(by_epoch=False)
default_hooks.update(checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=8000, max_keep_ckpts=2))
