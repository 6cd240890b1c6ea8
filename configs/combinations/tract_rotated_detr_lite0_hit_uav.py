"""Rotated Deformable DETR on HIT-UAV with a trained backbone, its first layer with TrAct.

Command:  python tools/train.py configs/combinations/tract_rotated_detr_lite0_hit_uav.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 1500 iterations
Result:   not run in this length; docs/combinations.md has the AP of short runs with and without
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from ..mutdet.rotated_detr_lite0_hit_uav_cpu import *

model["backbone"].update(frozen_stages=0)
custom_hooks = [dict(type=TrActHook, lam=0.1, layer="backbone.model.conv_stem")]
