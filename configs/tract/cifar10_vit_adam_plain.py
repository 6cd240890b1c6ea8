"""CIFAR-10, small ViT (7 layers, 12 heads, 384 wide, patch 4), Adam, 100 epochs, plain.

Command:  python tools/train.py configs/tract/cifar10_vit_adam_plain.py
Data:     CIFAR-10, 50,000 + 10,000 images; --cfg-options download=True fetches it
Hardware: one RTX 4090 in the paper
Expected: not run; published as curves of top-1 accuracy over 100 to 800 epochs (arXiv 2410.23970)
MLP ratio 1 (6.27M parameters) is inferred from the common CIFAR ViT, the paper does not state it.
"""

from mmengine.config import read_base
from torch.optim import Adam

with read_base():
    from .._base_.models.vit_cifar import *
    from ._base_.cifar10 import *

model["data_preprocessor"] = data_preprocessor
optim_wrapper["optimizer"] = dict(type=Adam, lr=1e-3, fused=True)
