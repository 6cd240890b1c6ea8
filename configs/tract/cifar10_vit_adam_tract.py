"""cifar10_vit_adam_plain with TrAct for the first layer.

Command:  python tools/train.py configs/tract/cifar10_vit_adam_tract.py
Data:     CIFAR-10, 50,000 + 10,000 images; --cfg-options download=True downloads it
Hardware: published on one RTX 4090
Expected: not run here; published as curves: the top-1 accuracy after 200 epochs is about that of the plain config
          after 400
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .cifar10_vit_adam_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
