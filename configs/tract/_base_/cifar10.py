"""CIFAR-10, 100 epochs."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.cifar10 import *
    from .classification import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
