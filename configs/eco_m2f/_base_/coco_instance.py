"""Mask2Former on COCO instances."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.coco_instance import *
    from .coco import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
model.update(num_classes=80, thing_classes=80)
model["inference"].update(tasks=("instance",))
