"""Runs counted in epochs; a cosine without warm-up, updated at each iteration. Batch sizes are per process."""

from mmengine.config import read_base

from vislab.datasets.samplers import EpochSampler
from vislab.engine.optim.schedulers import WarmupCosineLR

with read_base():
    from ..default_runtime import *

train_dataloader = dict(batch_size=128, num_workers=0, sampler=dict(type=EpochSampler, shuffle=True))
val_dataloader = dict(batch_size=256, num_workers=0, sampler=dict(type=EpochSampler, shuffle=False))
param_scheduler = [dict(type=WarmupCosineLR, warmup=0.0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=128)
