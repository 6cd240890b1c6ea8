"""Runs counted in epochs; the learning rate x 0.1 near the end of the run. Batch sizes are per process."""

from mmengine.config import read_base

from vislab.datasets.samplers import EpochSampler
from vislab.engine.optim.schedulers import RelativeMultiStepLR

with read_base():
    from ..default_runtime import *

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=EpochSampler, shuffle=True),
    drop_last=True,
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=EpochSampler, shuffle=False),
)
param_scheduler = [dict(type=RelativeMultiStepLR, milestones=(0.8,), gamma=0.1, by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=5)
val_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=16)
