"""Rotated Deformable DETR (ARS-DETR) with Swin-T on DOTA-v1.0 in tiles of 1024x1024.

Command:  python tools/train.py configs/mutdet/rotated_detr_swin_t_dota.py --launcher pytorch
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Data:     tiles in data/DOTA_tiles, made by tools/dataset_converters/dota_tiles.py
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; no published AP without pre-training was found
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.dota import *
    from ._base_.swin_t import *

model.update(num_classes=15)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
