"""Rotated Deformable DETR (ARS-DETR) with ResNet-50 on DOTA-v1.0 in tiles of 1024x1024.

Command:  python tools/train.py configs/mutdet/rotated_detr_r50_dota.py --launcher pytorch
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Data:     tiles in data/DOTA_tiles, made by tools/dataset_converters/dota_tiles.py
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; published AP50 72.9, AP75 49.6 on the test server without pre-training, and 74.5, 51.6 with
          MutDet (ECCV 2024, table 3)
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.dota import *
    from ._base_.rotated import *

model.update(num_classes=15)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
