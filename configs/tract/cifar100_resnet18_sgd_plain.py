"""ResNet-18 with a 3x3 stem on CIFAR-100: SGD with a step schedule, 200 epochs, without TrAct.

Command:  python tools/train.py configs/tract/cifar100_resnet18_sgd_plain.py
Data:     CIFAR-100; --cfg-options download=True downloads it
Hardware: published on one RTX 4090
Expected: not run here; published 76.13 top-1, 93.01 top-5 accuracy, mean of 5 seeds
          (arXiv 2410.23970, table of 36 networks)
"""

from mmengine.config import read_base
from mmengine.optim import LinearLR

from vislab.engine.optim.schedulers import RelativeMultiStepLR

with read_base():
    from .._base_.datasets.cifar100 import *
    from .._base_.models.resnet18_cifar import *
    from ._base_.classification import *

model.update(num_classes=100, data_preprocessor=data_preprocessor)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
optim_wrapper["optimizer"].update(lr=0.1, weight_decay=5e-4)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.01, begin=0, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type=RelativeMultiStepLR, milestones=(0.3, 0.6, 0.8), gamma=0.2, by_epoch=True),
]
train_cfg.update(max_epochs=200)
