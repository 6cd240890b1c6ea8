"""Rotated Deformable DETR with the published training: AdamW, 36 epochs, learning rate x 0.1 after 32, warm-up of 500
iterations, gradients clipped to 35."""

from mmengine.config import read_base
from mmengine.optim import LinearLR

from vislab.engine.optim.schedulers import RelativeMultiStepLR
from vislab.evaluation.rotated_map import RotatedMAP

with read_base():
    from ..._base_.models.rotated_deformable_detr import *
    from ..._base_.schedules.adamw import *
    from ..._base_.schedules.step_epochs import *

optim_wrapper["optimizer"].update(lr=1e-4, weight_decay=1e-5)
optim_wrapper["paramwise_cfg"].update(no_decay_norm_bias=False, lr_mult={"backbone": 0.1, "*.sampling_offsets": 0.1})
optim_wrapper.update(clip_grad=dict(max_norm=35.0, norm_type=2))
param_scheduler = [
    dict(type=LinearLR, start_factor=1 / 3, by_epoch=False, begin=0, end=500),
    dict(type=RelativeMultiStepLR, milestones=(32 / 36,), gamma=0.1, by_epoch=True),
]
train_cfg.update(max_epochs=36, val_interval=12)
auto_scale_lr.update(base_batch_size=8)
val_evaluator = dict(type=RotatedMAP, forms=("11point",))
