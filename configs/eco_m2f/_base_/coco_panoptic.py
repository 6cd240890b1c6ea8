"""Mask2Former on COCO panoptic."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.coco_panoptic import *
    from .coco import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
