"""CamVid, 11 classes: 90 training and 30 validation scenes of 360x480, in lists of "image mask" lines."""

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
train_set = dict(type=CamVid, data_root=data_root, ann_file="train.txt", pipeline=train_pipeline)
val_set = dict(type=CamVid, data_root=data_root, ann_file="val.txt", pipeline=test_pipeline, test_mode=True)
val_evaluator = dict(type=SemSegMetric)
