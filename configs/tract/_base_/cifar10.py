"""CIFAR-10 through torchvision, held in memory; shifts by up to 4 pixels and flips, made on whole batches."""

from mmengine.config import read_base

from vislab.datasets.torchvision_sets import CIFAR10
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.models.batch_augment import RandomShiftFlip
from vislab.models.preprocessor import ImagePreprocessor

with read_base():
    from .classification import *

data_root = "data/cifar10"  # fetched into it with --cfg-options download=True
download = False
pipeline = [dict(type=LoadImage), dict(type=PackInputs)]
data_preprocessor = dict(
    type=ImagePreprocessor,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2023, 0.1994, 0.2010),
    batch_augment=dict(type=RandomShiftFlip, padding=4),
)
train_set = dict(type=CIFAR10, data_root=data_root, download=download, train=True, pipeline=pipeline)
test_set = dict(type=CIFAR10, data_root=data_root, download=download, train=False, pipeline=pipeline, test_mode=True)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=test_set)
test_dataloader.update(dataset=test_set)
