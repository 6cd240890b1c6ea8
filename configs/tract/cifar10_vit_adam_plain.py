"""Small ViT (7 layers, 12 heads, width 384, patch size 4) on CIFAR-10: Adam, 100 epochs, without TrAct.

Command:  python tools/train.py configs/tract/cifar10_vit_adam_plain.py
Data:     CIFAR-10, 50,000 + 10,000 images; --cfg-options download=True downloads it
Hardware: published on one RTX 4090
Expected: not run here; published as curves of top-1 accuracy over 100 to 800 epochs (arXiv 2410.23970)
          The MLP ratio of 1 (6.27M parameters) is that of the common CIFAR ViT; the paper does not state it.
"""

from mmengine.config import read_base
from torch.optim import Adam

with read_base():
    from .._base_.models.vit_cifar import *
    from ._base_.cifar10 import *

model["data_preprocessor"] = data_preprocessor
optim_wrapper["optimizer"] = dict(type=Adam, lr=1e-3, fused=True)
