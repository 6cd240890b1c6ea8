"""imagenet_resnet50_30ep_plain with TrAct for the first layer, 30 epochs.

Command:  python tools/train.py configs/tract/imagenet_resnet50_30ep_tract.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/
Hardware: published on one RTX 4090
Expected: not run here; published 73.48 top-1, 91.61 top-5 accuracy, one seed (arXiv 2410.23970)
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from .imagenet_resnet50_30ep_plain import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
