"""CamVid, 11 classes: 90 training and 30 validation scenes of 360x480, in lists of "image mask" lines."""

from mmengine.config import read_base

from vislab.datasets.semantic import CamVid
from vislab.datasets.transforms import (
    PhotoMetricDistortion,
    LargeScaleJitter,
    LoadImage,
    LoadSemSeg,
    PackInputs,
    RandomFlip,
    Resize,
)
from vislab.evaluation.semantic import SemSegMetric

with read_base():
    from .schedule import *

data_root = "$VISLAB_DATA/camvid"
size = (240, 320)

train_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadSemSeg),
    dict(type=LargeScaleJitter, size=size, ratio_range=(1.0, 1.75)),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PhotoMetricDistortion),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=LoadSemSeg),
    dict(type=PackInputs),
]
train_dataloader.update(
    dataset=dict(type=CamVid, data_root=data_root, ann_file="train.txt", pipeline=train_pipeline),
)
test_set = dict(type=CamVid, data_root=data_root, ann_file="val.txt", pipeline=test_pipeline, test_mode=True)
val_dataloader.update(dataset=test_set)
test_dataloader.update(dataset=test_set)
val_evaluator = dict(type=SemSegMetric)
test_evaluator = dict(type=SemSegMetric)

# short runs; a leaf gives the learning rate and `lr_mult`
train_cfg.update(max_iters=400, val_interval=100)
default_hooks["checkpoint"].update(interval=200, save_best="mIoU", rule="greater")
default_hooks["logger"].update(interval=20)
