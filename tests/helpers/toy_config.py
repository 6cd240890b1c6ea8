"""A run of a few seconds for the end-to-end tests."""

# ruff: noqa: C408

from tests.helpers.toy_run import Jitter, Slow, ToyDataset, ToyMetric, ToyModel

model = dict(type=ToyModel, width=64, norm=False)
train_dataloader = dict(
    dataset=dict(type=ToyDataset, length=24, pipeline=[dict(type=Slow), dict(type=Jitter)]),
    sampler=dict(type="EpochSampler", shuffle=True),
    batch_size=4,
    num_workers=0,
)
val_dataloader = dict(
    dataset=dict(type=ToyDataset, length=8, pipeline=[dict(type=Slow), dict(type=Jitter)]),
    sampler=dict(type="EpochSampler", shuffle=False),
    batch_size=8,
)
train_cfg = dict(by_epoch=True, max_epochs=16, val_interval=1)
val_cfg = dict()
val_evaluator = dict(type=ToyMetric)
optim_wrapper = dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9))
param_scheduler = dict(type="CosineAnnealingLR", by_epoch=False)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="auto", rule="less")
)
custom_hooks = [dict(type="EMAHook", momentum=0.1)]
default_scope = "vislab"
randomness = dict(seed=3)
