"""Rotated Deformable DETR with EfficientNet-Lite0 on the 8 tiles of dota8 at 512x512, to the point of memorizing them.

Command:  python tools/train.py configs/mutdet/rotated_detr_lite0_dota8_cpu.py
Data:     dota8 (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 800 iterations
Result:   not run in this form; 500 iterations at half the learning rate with 150 queries gave AP50 82.7, AP75 75.6
          on the tiles it was trained on (11-point)
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.dota8 import *
    from ._base_.cpu import *

both = dict(images="images/**.jpg", labels="labels/**.txt")  # training and validation tiles
train_set.update(both, pipeline=test_pipeline)  # without flips
val_set.update(both)
model.update(num_queries=200)
model["denoising"].update(num_queries=110)
train_dataloader.update(batch_size=2, dataset=train_set)
val_dataloader.update(batch_size=2, dataset=val_set)
optim_wrapper["optimizer"].update(lr=1e-3)
train_cfg.update(max_iters=800, val_interval=400)
