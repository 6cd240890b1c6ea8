"""Mask2Former, 50 epochs of COCO: learning rate x 0.1 after 8/9 and 0.963 of the run."""

from mmengine.config import read_base

from vislab.engine.optim.schedulers import RelativeMultiStepLR

with read_base():
    from ..._base_.schedules.iterations import *
    from .mask2former import *

# as published: after 327778 and 355092 of 368750 iterations
param_scheduler = [dict(type=RelativeMultiStepLR, milestones=(8 / 9, 0.962961), gamma=0.1, by_epoch=False)]
train_cfg.update(max_iters=368750)
