"""CIFAR-100 through torchvision, kept in memory."""

from mmengine.config import read_base

from vislab.datasets.torchvision_sets import CIFAR100

with read_base():
    from .cifar10 import *

data_preprocessor.update(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762))
data_root = "data/cifar100"
train_set.update(type=CIFAR100, data_root=data_root)
val_set.update(type=CIFAR100, data_root=data_root)
