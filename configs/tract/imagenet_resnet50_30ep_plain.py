"""ImageNet, ResNet-50, SGD with steps, 30 epochs, plain.

Command:  python tools/train.py configs/tract/imagenet_resnet50_30ep_plain.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/
Hardware: one RTX 4090 in the paper
Expected: not run; 71.96 top-1, 90.70 top-5 accuracy, one seed (arXiv 2410.23970)
"""

from mmengine.config import read_base

from vislab.engine.optim.schedulers import RelativeMultiStepLR
from vislab.models.classifier import ImageClassifier

with read_base():
    from ._base_.imagenet import *

model = dict(type=ImageClassifier, name="resnet50", num_classes=1000, data_preprocessor=data_preprocessor)
optim_wrapper["optimizer"].update(lr=0.141, weight_decay=1e-4)
param_scheduler = [dict(type=RelativeMultiStepLR, milestones=(1 / 3, 2 / 3), gamma=0.1, by_epoch=True)]
train_cfg.update(max_epochs=30, val_interval=5)
