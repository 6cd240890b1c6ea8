"""CIFAR-10 subset: cifar10_subset_vit_adam_cpu_plain with its first layer trained by TrAct.

Command:  python tools/train.py configs/tract/cifar10_subset_vit_adam_cpu_tract.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA names the folder
Hardware: 2 CPU cores, some minutes
Expected: not run to the end yet: top-1 accuracy, see benchmarks/tract_cifar.py
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .cifar10_subset_vit_adam_cpu_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
