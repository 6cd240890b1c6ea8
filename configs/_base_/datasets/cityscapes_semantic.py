"""Cityscapes, 19 classes: crops of 512x1024 from images scaled by 0.5 to 2, whole images of 1024x2048 in testing."""

from vislab.datasets.semantic import Cityscapes
from vislab.datasets.transforms import (
    PhotoMetricDistortion,
    LoadImage,
    LoadSemSeg,
    PackInputs,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
)
from vislab.evaluation.semantic import SemSegMetric

data_root = "data/cityscapes"
size = (512, 1024)  # of crops

train_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadSemSeg),
    dict(type=ResizeShortestEdge, short_edge_length=1024, ratio_range=(0.5, 2.0)),
    dict(type=RandomCrop, size=size, cat_max_ratio=0.75),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PhotoMetricDistortion),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadSemSeg),
    dict(type=PackInputs),
]
train_set = dict(type=Cityscapes, data_root=data_root, split="train", pipeline=train_pipeline)
val_set = dict(type=Cityscapes, data_root=data_root, split="val", pipeline=test_pipeline, test_mode=True)
val_evaluator = dict(type=SemSegMetric)
