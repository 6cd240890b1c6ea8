"""imagenet_deit3_vit_small_400ep_plain with TrAct for the first layer, 400 epochs.

Command:  python tools/train.py configs/tract/imagenet_deit3_vit_small_400ep_tract.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/
Hardware: published on 4 A40 GPUs, about 66 hours
Expected: not run here; published 81.50 top-1, 95.73 top-5 accuracy after fine-tuning, TrAct in both stages
          (same source)
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .imagenet_deit3_vit_small_400ep_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
