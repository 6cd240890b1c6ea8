"""COCO boxes, 80 classes: short side 480 to 800 in training and 800 in testing, long side at most 1333.

DETR's training also crops half of the images before resizing, which is left out here.
"""

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs, RandomFlip, ResizeShortestEdge
from vislab.evaluation.coco import CocoMetric

data_root = "data/coco"
scales = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations),
    dict(type=RandomFlip, prob=0.5),
    dict(type=ResizeShortestEdge, short_edge_length=scales, max_size=1333),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=800, max_size=1333),
    dict(type=LoadAnnotations),
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
val_evaluator = dict(type=CocoMetric, iou_types=("bbox",))
