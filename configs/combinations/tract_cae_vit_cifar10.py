"""CAE on a subset of CIFAR-10, the patch embedding of its encoder trained with TrAct.

Command:  python tools/train.py configs/combinations/tract_cae_vit_cifar10.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 15 epochs
Result:   not run in this length; docs/combinations.md has the k-NN accuracy of short runs with and without
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from ..cae.cae_vit_cifar10_norm_pixel_cpu import *

custom_hooks += [dict(type=TrActHook, lam=0.1, layer="encoder.patch_embed.proj")]
