"""Fine-tuning of the ViT of cae_vit_cifar10_norm_pixel_cpu on a subset of CIFAR-10, its patch embedding with TrAct.

Command:  python tools/train.py configs/combinations/cae_tract_vit_cifar10.py --load-from CHECKPOINT
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 15 epochs
Result:   not run in this length; docs/combinations.md has the top-1 accuracy of short runs with and without
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from ..cae.finetune_vit_cifar10_cpu import *

custom_hooks += [dict(type=TrActHook, lam=0.1, layer="encoder.patch_embed.proj")]
