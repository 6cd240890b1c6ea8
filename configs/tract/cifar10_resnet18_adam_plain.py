"""CIFAR-10, ResNet-18 with a 3x3 stem, Adam, 100 epochs, plain.

Command:  python tools/train.py configs/tract/cifar10_resnet18_adam_plain.py
Data:     CIFAR-10, 50,000 + 10,000 images; --cfg-options download=True fetches it
Hardware: one RTX 4090 in the paper
Expected: not run; the paper gives curves only, in all about 89 to 93 % top-1 accuracy (arXiv 2410.23970)
"""

from mmengine.config import read_base
from torch.optim import Adam

with read_base():
    from .cifar10_resnet18_sgd_plain import *

optim_wrapper["optimizer"] = dict(type=Adam, lr=1e-2, fused=True)
