"""Rotated Deformable DETR with EfficientNet-Lite0 on synthetic scenes of 128x128.

Command:  python tools/train.py configs/mutdet/rotated_detr_lite0_scenes_cpu.py
Data:     none; ImageNet weights by python tools/prepare_data.py weights (VISLAB_DATA is the data folder), or by
          --cfg-options weights=FILE; weights=False starts from random weights
Hardware: 2 CPU cores, 2000 iterations
Result:   AP not measured, not run
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.scenes_detection import *
    from ._base_.cpu import *

model.update(num_classes=5, num_queries=40)  # the dataset's classes include wall and floor, which have no boxes
model["denoising"].update(num_queries=40)
train_dataloader.update(batch_size=8, dataset=train_set)
val_dataloader.update(batch_size=8, dataset=val_set)
