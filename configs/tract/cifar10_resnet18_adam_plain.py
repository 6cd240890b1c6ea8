"""ResNet-18 with a 3x3 stem on CIFAR-10: Adam, 100 epochs, without TrAct.

Command:  python tools/train.py configs/tract/cifar10_resnet18_adam_plain.py
Data:     CIFAR-10, 50,000 + 10,000 images; --cfg-options download=True downloads it
Hardware: published on one RTX 4090
Expected: not run here; the paper shows curves only, with about 89 to 93 % top-1 accuracy (arXiv 2410.23970)
"""

from mmengine.config import read_base
from torch.optim import Adam

with read_base():
    from .cifar10_resnet18_sgd_plain import *

optim_wrapper["optimizer"] = dict(type=Adam, lr=1e-2, fused=True)
