"""20,000 + 5,000 images of CIFAR-10, read from a zip archive and kept decoded in memory."""

from mmengine.config import read_base

from vislab.datasets.image_folder import ImageFolder

with read_base():
    from .cifar import *

data_root = "$VISLAB_DATA/cifar10_subset.zip"
folder = dict(type=ImageFolder, data_root=data_root, cache=True, pipeline=pipeline)
train_set = dict(folder, split="cifar10/train")
val_set = dict(folder, split="cifar10/test", test_mode=True)
