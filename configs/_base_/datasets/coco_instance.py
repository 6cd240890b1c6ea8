"""COCO instances, 80 classes: large-scale jitter to 1024x1024, short side 800 in testing."""

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import (
    LargeScaleJitter,
    LoadAnnotations,
    LoadImage,
    PackInputs,
    RandomFlip,
    ResizeShortestEdge,
)
from vislab.evaluation.coco import CocoMetric

data_root = "data/coco"

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_mask=True),
    dict(type=RandomFlip, prob=0.5),
    dict(type=LargeScaleJitter, size=(1024, 1024), ratio_range=(0.1, 2.0)),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=800, max_size=1333),
    dict(type=LoadAnnotations, with_mask=True),
    dict(type=PackInputs),
]
train_set = dict(
    type=CocoDataset,
    data_root=data_root,
    ann_file="annotations/instances_train2017.json",
    data_prefix=dict(img="train2017"),
    filter_empty=True,
    pipeline=train_pipeline,
)
val_set = dict(
    type=CocoDataset,
    data_root=data_root,
    ann_file="annotations/instances_val2017.json",
    data_prefix=dict(img="val2017"),
    pipeline=test_pipeline,
    test_mode=True,
)
val_evaluator = dict(type=CocoMetric, iou_types=("segm",))
