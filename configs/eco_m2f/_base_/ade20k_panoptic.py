"""Mask2Former on ADE20K panoptic, 160,000 iterations."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.ade20k_panoptic import *
    from ..._base_.schedules.poly_iterations import *
    from .mask2former import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
model.update(num_classes=150, thing_classes=100)
train_cfg.update(max_iters=160000)
