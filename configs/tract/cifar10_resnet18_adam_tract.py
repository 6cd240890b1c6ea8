"""CIFAR-10: cifar10_resnet18_adam_plain with its first layer trained by TrAct.

Command:  python tools/train.py configs/tract/cifar10_resnet18_adam_tract.py
Data:     CIFAR-10, 50,000 + 10,000 images; --cfg-options download=True fetches it
Hardware: one RTX 4090 in the paper
Expected: not run; published as curves: top-1 accuracy of TrAct at 100 epochs about that of plain at 400
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .cifar10_resnet18_adam_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
