"""Panoptic segmentation of one's own images. `vislab new panoptic` writes a config on this base."""

from mmengine.config import read_base

from vislab.evaluation.panoptic import PanopticMetric

with read_base():
    from .masks import *

model["inference"].update(tasks=("panoptic",), score_threshold=0.5)
default_hooks["checkpoint"].update(save_best="pq", rule="greater")
val_evaluator = dict(type=PanopticMetric)
