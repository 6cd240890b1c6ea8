"""Rotated Deformable DETR with EfficientNet-Lite0 on the 8 tiles of dota8 at 512x512, to the point of memorizing them.

Command:  python tools/train.py configs/mutdet/rotated_detr_lite0_dota8_cpu.py
Data:     dota8 (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 1 CPU core
Result:   960 iterations in 9 min 47 s: AP50 95.3, AP75 94.4 on the tiles it was trained on (11-point)
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.dota8 import *
    from ._base_.cpu import *

both = dict(images="images/**.jpg", labels="labels/**.txt")  # training and validation tiles
crowded = (0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7)  # the two tiles with 110 and 13 objects are drawn three times
train_set.update(both, pipeline=test_pipeline, indices=crowded)  # without flips
val_set.update(both)
model["backbone"].update(frozen_stages=-1)
model["encoder"].update(num_layers=1)
model.update(num_queries=200)
model["denoising"].update(num_queries=110)
train_dataloader.update(batch_size=1, dataset=train_set)  # without padding to 110 objects
val_dataloader.update(batch_size=2, dataset=val_set)
train_cfg.update(max_iters=960, val_interval=480)
