"""ADE20K semantic, 150 classes: crops of 512x512, short side 512 in testing."""

from mmengine.config import read_base

from mmengine.optim import PolyLR

from vislab.datasets.semantic import ADE20K
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
from vislab.evaluation.semantic import SemSegMetric

with read_base():
    from .mask2former import *

data_root = "data/ADEChallengeData2016"
size = (512, 512)  # of crops; the long side of images is at most four times the first number
shorts = [size[0] * tenths // 10 for tenths in range(5, 21)]  # short sides in training, one drawn for each image

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
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=size[0], max_size=4 * size[0]),
    dict(type=LoadSemSeg),
    dict(type=PackInputs),
]
train_dataloader.update(
    dataset=dict(
        type=ADE20K,
        data_root=data_root,
        split="training",
        pipeline=train_pipeline,
    )
)
test_set = dict(
    type=ADE20K,
    data_root=data_root,
    split="validation",
    pipeline=test_pipeline,
    test_mode=True,
)
val_dataloader.update(dataset=test_set)
test_dataloader.update(dataset=test_set)
val_evaluator = dict(type=SemSegMetric)
test_evaluator = dict(type=SemSegMetric)
model.update(num_classes=150, thing_classes=150, tasks=("semantic",), sigmoid_first=True)
param_scheduler = [dict(type=PolyLR, power=0.9, eta_min=0.0, by_epoch=False)]
train_cfg.update(max_iters=160000)
