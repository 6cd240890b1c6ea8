"""ImageNet, 400 epochs: imagenet_deit3_vit_small_400ep_plain with its first layer trained by TrAct.

Command:  python tools/train.py configs/tract/imagenet_deit3_vit_small_400ep_tract.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/
Hardware: 4 GPUs A40, about 66 hours in the paper
Expected: not run; 81.50 top-1, 95.73 top-5 accuracy after fine-tuning, TrAct in both stages (same source)
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .imagenet_deit3_vit_small_400ep_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
