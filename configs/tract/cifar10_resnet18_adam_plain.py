"""CIFAR-10, ResNet-18 with a 3x3 stem, Adam, 100 epochs, plain.

Command:  python tools/train.py configs/tract/cifar10_resnet18_adam_plain.py
Data:     CIFAR-10, 50,000 + 10,000 images; --cfg-options download=True fetches it
Hardware: one RTX 4090 in the paper
Expected: not run; the paper gives curves only, in all about 89 to 93 % top-1 accuracy (arXiv 2410.23970)
"""

from mmengine.config import read_base

from torch.optim import Adam

from vislab.models.classifier import ImageClassifier

with read_base():
    from ._base_.cifar10 import *

model = dict(
    type=ImageClassifier,
    name="resnet18",
    num_classes=10,
    stem="cifar",
    model_args=dict(zero_init_last=False),
    data_preprocessor=data_preprocessor,
)
optim_wrapper["optimizer"] = dict(type=Adam, lr=1e-2, fused=True)
