"""Mask2Former on Cityscapes panoptic, 90,000 iterations, with trained batch norms synchronized over GPUs."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.cityscapes_panoptic import *
    from ..._base_.schedules.poly_iterations import *
    from .mask2former import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
model.update(num_classes=19, thing_classes=8)
model["backbone"].update(frozen_norms=False, norm_eval=False)
sync_bn = "torch"
train_cfg.update(max_iters=90000)
