"""cifar10_subset_vit_adam_cpu_plain with TrAct for the first layer.

Command:  python tools/train.py configs/tract/cifar10_subset_vit_adam_cpu_tract.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 2 CPU cores, a few minutes
Expected: not run to the end; benchmarks/tract_cifar.py measures the top-1 accuracy
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .cifar10_subset_vit_adam_cpu_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
