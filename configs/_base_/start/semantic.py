"""Semantic segmentation of one's own images. `vislab new semantic` writes a config on this base."""

from mmengine.config import read_base

from vislab.engine.hooks import CurveHook
from vislab.evaluation.semantic import SemSegMetric
from vislab.models.dense import SemanticSegmentor

with read_base():
    from .dense import *

model.update(type=SemanticSegmentor, num_classes=2)
optim_wrapper["optimizer"].update(lr=3e-3)
# those of configs/timesnet/fpn_lite0_camvid.py, chosen by benchmarks/timesnet_decoder.py
optim_wrapper["paramwise_cfg"]["lr_mult"].update({"network.lateral": 5.0, "network.smooth": 5.0, "network.output": 5.0})
default_hooks["checkpoint"].update(save_best="mIoU", rule="greater")
custom_hooks = [dict(type=CurveHook, metrics=["mIoU"])]
val_evaluator = dict(type=SemSegMetric)
