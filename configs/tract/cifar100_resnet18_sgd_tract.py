"""CIFAR-100: cifar100_resnet18_sgd_plain with its first layer trained by TrAct.

Command:  python tools/train.py configs/tract/cifar100_resnet18_sgd_tract.py
Data:     CIFAR-100; --cfg-options download=True fetches it
Hardware: one RTX 4090 in the paper
Expected: not run; 76.67 top-1, 93.29 top-5 accuracy; with 133 epochs 75.86, 93.07 (same table)
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .cifar100_resnet18_sgd_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
