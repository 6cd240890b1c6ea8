"""ImageNet-1k in its folders (data/README.md): random resized crops and flips to train, 224 out of 256 to test."""

from mmengine.config import read_base

from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import (
    CenterCrop,
    LoadImage,
    PackInputs,
    RandomFlip,
    RandomResizedCrop,
    ResizeShortestEdge,
)
from vislab.models.preprocessor import ImagePreprocessor

with read_base():
    from .classification import *

data_root = "data/imagenet"
size = 224
train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomResizedCrop, size=size),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=8 * size // 7),
    dict(type=CenterCrop, size=size),
    dict(type=PackInputs),
]
data_preprocessor = dict(type=ImagePreprocessor, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
test_set = dict(type=ImageFolder, data_root=data_root, split="val", pipeline=test_pipeline, test_mode=True)
train_dataloader.update(
    batch_size=256,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(type=ImageFolder, data_root=data_root, split="train", pipeline=train_pipeline),
)
val_dataloader.update(num_workers=8, persistent_workers=True, dataset=test_set)
test_dataloader.update(num_workers=8, dataset=test_set)
auto_scale_lr.update(base_batch_size=256)
