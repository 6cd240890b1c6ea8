"""ResNet-50 on ImageNet: SGD with a step schedule, 60 epochs, without TrAct.

Command:  python tools/train.py configs/tract/imagenet_resnet50_60ep_plain.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/
Hardware: published on one RTX 4090
Expected: not run here; published 74.98 top-1, 92.36 top-5 accuracy, one seed (arXiv 2410.23970)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.imagenet_resnet50 import *

train_cfg.update(max_epochs=60)
