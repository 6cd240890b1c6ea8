"""Instance segmentation of one's own images. `vislab new instance` writes a config on this base."""

from mmengine.config import read_base

from vislab.evaluation.coco import CocoMetric

with read_base():
    from .masks import *

model["inference"].update(tasks=("instance",))
default_hooks["checkpoint"].update(save_best="segm_mAP", rule="greater")
val_evaluator = dict(type=CocoMetric, iou_types=("segm",))
