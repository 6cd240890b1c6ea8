"""Mask2Former on ADE20K semantic segmentation, 160,000 iterations. The training target has one mask per class."""

from mmengine.config import read_base

from vislab.datasets.transforms import (
    PhotoMetricDistortion,
    LoadImage,
    LoadSemSeg,
    PackInputs,
    Pad,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
    SemSegToInstances,
)

with read_base():
    from ..._base_.datasets.ade20k_semantic import *
    from ..._base_.schedules.poly_iterations import *
    from .mask2former import *

shorts = [size[0] * tenths // 10 for tenths in range(5, 21)]  # short sides in training, one sampled per image
train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadSemSeg),
    dict(type=ResizeShortestEdge, short_edge_length=shorts, max_size=4 * size[0]),
    dict(type=RandomCrop, size=size),
    dict(type=PhotoMetricDistortion),
    dict(type=RandomFlip, prob=0.5),
    dict(type=Pad, size=size, pad_value=(128, 128, 128)),
    dict(type=SemSegToInstances),
    dict(type=PackInputs),
]
train_dataloader.update(dataset=dict(train_set, pipeline=train_pipeline))
val_dataloader.update(dataset=val_set)
val_dataloader["dataset"]["pipeline"][0] = dict(type=LoadImage)  # of any size
model.update(num_classes=150, thing_classes=150)
model["inference"].update(tasks=("semantic",), sigmoid_first=True)
train_cfg.update(max_iters=160000)
