"""Cityscapes panoptic, 8 thing and 11 stuff classes: crops of 512x1024, whole images in testing.

Masks are evaluated by the COCO AP (`coco/segm_mAP`). The AP of Cityscapes, which papers report, is not computed.
"""

from vislab.datasets.cityscapes_panoptic import CityscapesPanoptic
from vislab.datasets.transforms import (
    PhotoMetricDistortion,
    LoadImage,
    LoadPanoptic,
    PackInputs,
    Pad,
    PanopticToInstances,
    PanopticToSemSeg,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
)
from vislab.evaluation.coco import CocoMetric
from vislab.evaluation.panoptic import PanopticMetric
from vislab.evaluation.semantic import SemSegMetric

data_root = "data/cityscapes"
short = 1024
shorts = [short * tenths // 10 for tenths in range(5, 21)]  # short sides in training, one sampled per image
size = (512, 1024)  # of crops

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadPanoptic),
    dict(type=ResizeShortestEdge, short_edge_length=shorts, max_size=4 * short),
    dict(type=RandomCrop, size=size),
    dict(type=Pad, size=size),
    dict(type=PhotoMetricDistortion),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PanopticToInstances),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=short, max_size=2 * short),
    dict(type=LoadPanoptic),
    dict(type=PanopticToSemSeg),
    dict(type=PanopticToInstances, classes=(0, 1, 2, 3, 4, 5, 6, 7)),
    dict(type=PackInputs),
]
train_set = dict(
    type=CityscapesPanoptic,
    data_root=data_root,
    ann_file="gtFine/cityscapes_panoptic_train.json",
    data_prefix=dict(img="leftImg8bit/train", panoptic="gtFine/cityscapes_panoptic_train"),
    pipeline=train_pipeline,
)
val_set = dict(
    type=CityscapesPanoptic,
    data_root=data_root,
    ann_file="gtFine/cityscapes_panoptic_val.json",
    data_prefix=dict(img="leftImg8bit/val", panoptic="gtFine/cityscapes_panoptic_val"),
    pipeline=test_pipeline,
    test_mode=True,
)
masks = dict(type=CocoMetric, iou_types=("segm",), prefix="coco")
val_evaluator = [dict(type=PanopticMetric), dict(type=SemSegMetric), masks]
