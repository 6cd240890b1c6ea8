"""Cityscapes panoptic, 8 things and 11 kinds of stuff: crops of 512x1024, whole images in testing.

Masks are scored by COCO's AP, as `coco/segm_mAP`; Cityscapes' own AP, which papers quote, differs and is not computed.
"""

from mmengine.config import read_base

from mmengine.optim import PolyLR

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

with read_base():
    from .mask2former import *

data_root = "data/cityscapes"
short = 1024
shorts = [short * tenths // 10 for tenths in range(5, 21)]  # in training, one drawn for each image
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
train_dataloader.update(
    dataset=dict(
        type=CityscapesPanoptic,
        data_root=data_root,
        ann_file="gtFine/cityscapes_panoptic_train.json",
        data_prefix=dict(img="leftImg8bit/train", panoptic="gtFine/cityscapes_panoptic_train"),
        pipeline=train_pipeline,
    )
)
test_set = dict(
    type=CityscapesPanoptic,
    data_root=data_root,
    ann_file="gtFine/cityscapes_panoptic_val.json",
    data_prefix=dict(img="leftImg8bit/val", panoptic="gtFine/cityscapes_panoptic_val"),
    pipeline=test_pipeline,
    test_mode=True,
)
val_dataloader.update(dataset=test_set)
test_dataloader.update(dataset=test_set)
masks = dict(type=CocoMetric, iou_types=("segm",), prefix="coco")
val_evaluator = [dict(type=PanopticMetric), dict(type=SemSegMetric), masks]
test_evaluator = [dict(type=PanopticMetric), dict(type=SemSegMetric), masks]
model.update(num_classes=19, thing_classes=8)
model["backbone"].update(frozen_norms=False, norm_eval=False)  # published: synchronized batch norms that learn
sync_bn = "torch"
param_scheduler = [dict(type=PolyLR, power=0.9, eta_min=0.0, by_epoch=False)]
train_cfg.update(max_iters=90000)
