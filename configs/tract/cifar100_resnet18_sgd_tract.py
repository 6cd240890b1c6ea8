"""cifar100_resnet18_sgd_plain with TrAct for the first layer.

Command:  python tools/train.py configs/tract/cifar100_resnet18_sgd_tract.py
Data:     CIFAR-100; --cfg-options download=True downloads it
Hardware: published on one RTX 4090
Expected: not run here; published 76.67 top-1, 93.29 top-5 accuracy; with 133 epochs 75.86, 93.07
          (same table of the paper)
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .cifar100_resnet18_sgd_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
