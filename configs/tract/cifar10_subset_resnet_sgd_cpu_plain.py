"""CIFAR-10 subset, ResNet-18 of a quarter of the width, SGD, 15 epochs, plain.

Command:  python tools/train.py configs/tract/cifar10_subset_resnet_sgd_cpu_plain.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA names the folder
Hardware: 2 CPU cores, some minutes
Expected: not run to the end yet: top-1 accuracy, see benchmarks/tract_cifar.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.resnet18_cifar import *
    from ._base_.cifar10_subset import *

model["data_preprocessor"] = data_preprocessor
model["model_args"].update(channels=(16, 32, 64, 128))
