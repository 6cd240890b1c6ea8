"""70 photos of COCO panoptic, 133 classes: 40 for training, 30 for validation, at 192x256."""

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import (
    LargeScaleJitter,
    LoadImage,
    LoadPanoptic,
    PackInputs,
    PanopticToInstances,
    RandomFlip,
    Resize,
)
from vislab.evaluation.panoptic import PanopticMetric

data_root = "$VISLAB_DATA/coco_panoptic"
size = (192, 256)

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadPanoptic),
    dict(type=RandomFlip, prob=0.5),
    dict(type=LargeScaleJitter, size=size, ratio_range=(0.8, 2.0)),
    dict(type=PanopticToInstances),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=LoadPanoptic),
    dict(type=PackInputs),
]
train_set = dict(
    type=CocoDataset,
    data_root=data_root,
    ann_file="annotations/panoptic_train.json",
    data_prefix=dict(img="train", panoptic="panoptic_train"),
    pipeline=train_pipeline,
)
val_set = dict(
    type=CocoDataset,
    data_root=data_root,
    ann_file="annotations/panoptic_val.json",
    data_prefix=dict(img="val", panoptic="panoptic_val"),
    pipeline=test_pipeline,
    test_mode=True,
)
val_evaluator = dict(type=PanopticMetric)
