"""Runs counted in iterations: endless shuffled training batches, checkpoint and validation at the same intervals.

Batch sizes are per process. The learning rate is left to cosine_iterations.py, poly_iterations.py or the system.
"""

from mmengine.config import read_base

from vislab.datasets.samplers import EpochSampler, InfiniteSampler
from vislab.engine.hooks import CheckpointHook

with read_base():
    from ..default_runtime import *

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=InfiniteSampler, shuffle=True),
    drop_last=True,
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type=EpochSampler, shuffle=False),
)
train_cfg = dict(by_epoch=False, max_iters=80000, val_interval=5000)
val_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=16)

log_processor.update(by_epoch=False)
default_hooks.update(checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=5000, max_keep_ckpts=2))
