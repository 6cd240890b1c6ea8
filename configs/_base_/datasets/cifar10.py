"""CIFAR-10 through torchvision, kept in memory."""

from mmengine.config import read_base

from vislab.datasets.torchvision_sets import CIFAR10

with read_base():
    from .cifar import *

data_root = "data/cifar10"  # --cfg-options download=True downloads the data into it
download = False
train_set = dict(type=CIFAR10, data_root=data_root, download=download, train=True, pipeline=pipeline)
val_set = dict(type=CIFAR10, data_root=data_root, download=download, train=False, pipeline=pipeline, test_mode=True)
