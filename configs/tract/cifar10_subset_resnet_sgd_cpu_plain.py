"""ResNet-18 with a quarter of the width on a subset of CIFAR-10: SGD, 15 epochs, without TrAct.

Command:  python tools/train.py configs/tract/cifar10_subset_resnet_sgd_cpu_plain.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 2 CPU cores, a few minutes
Expected: not run to the end; benchmarks/tract_cifar.py measures the top-1 accuracy
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.resnet18_cifar import *
    from ._base_.cifar10_subset import *

model["data_preprocessor"] = data_preprocessor
model["model_args"].update(channels=(16, 32, 64, 128))
