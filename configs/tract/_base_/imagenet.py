"""ImageNet-1k with batch size 256."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.imagenet import *
    from .classification import *

train_dataloader.update(batch_size=256, num_workers=8, persistent_workers=True, pin_memory=True, dataset=train_set)
val_dataloader.update(num_workers=8, persistent_workers=True, dataset=val_set)
auto_scale_lr.update(base_batch_size=256)
