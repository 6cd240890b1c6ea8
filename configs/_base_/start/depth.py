"""Depth of one's own color and depth images. `vislab new depth` writes a config on this base."""

from mmengine.config import read_base

from vislab.engine.hooks import CurveHook
from vislab.models.dense import DepthEstimator

with read_base():
    from .dense import *

model.update(type=DepthEstimator, max_depth=10.0)
default_hooks["checkpoint"].update(save_best="abs_rel", rule="less")
custom_hooks = [dict(type=CurveHook, metrics=["abs_rel"])]
