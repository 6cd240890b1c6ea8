"""ResNet-50 on ImageNet-1k: SGD, learning rate x 0.1 after one and two thirds of the run. Configs add its length."""

from mmengine.config import read_base

from vislab.engine.optim.schedulers import RelativeMultiStepLR
from vislab.models.classifier import ImageClassifier

with read_base():
    from .imagenet import *

model = dict(type=ImageClassifier, name="resnet50", num_classes=1000, data_preprocessor=data_preprocessor)
optim_wrapper["optimizer"].update(lr=0.1, weight_decay=1e-4)
param_scheduler = [dict(type=RelativeMultiStepLR, milestones=(1 / 3, 2 / 3), gamma=0.1, by_epoch=True)]
train_cfg.update(val_interval=5)
