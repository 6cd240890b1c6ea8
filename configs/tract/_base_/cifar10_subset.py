"""A subset of CIFAR-10, 15 epochs, for two CPU cores."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.cifar10_subset import *
    from .classification import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
train_cfg.update(max_epochs=15, val_interval=1)
