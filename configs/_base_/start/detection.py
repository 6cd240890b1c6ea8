"""Boxes in one's own images: the detector of rotated.py for horizontal boxes. `vislab new detection` uses this base."""

from mmengine.config import read_base

from vislab.evaluation.coco import CocoMetric

with read_base():
    from .rotated import *

model.update(rotated=False)
default_hooks["checkpoint"].update(save_best="bbox_mAP", rule="greater")
val_evaluator = dict(type=CocoMetric, iou_types=("bbox",))
