"""imagenet.py with images alone, for targets that are computed from them."""

from mmengine.config import read_base

with read_base():
    from .imagenet import *

train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomResizedCrop, size=size, interpolation="bicubic"),
    dict(type=RandomFlip, prob=0.5),
    mask,
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=8 * size // 7),
    dict(type=CenterCrop, size=size),
    mask,
    dict(type=PackInputs),
]
train_dataloader.update(dataset=dict(train_set, pipeline=train_pipeline))
val_dataloader.update(dataset=dict(val_set, pipeline=test_pipeline))
