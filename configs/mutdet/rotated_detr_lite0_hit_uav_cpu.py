"""Rotated Deformable DETR with EfficientNet-Lite0 on HIT-UAV, thermal aerial images at 256x320, 4 classes.

Command:  python tools/train.py configs/mutdet/rotated_detr_lite0_hit_uav_cpu.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: one CPU core, 1500 iterations in 37 minutes
Result:   AP50 36.2, AP75 15.4 of 100 validation images, 11-point; a control without training has 6.1 (docs/mutdet.md)
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.hit_uav import *
    from ._base_.cpu import *

model.update(num_classes=4)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
train_cfg.update(max_iters=1500)
