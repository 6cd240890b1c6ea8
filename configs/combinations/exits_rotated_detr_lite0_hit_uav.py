"""Rotated Deformable DETR on HIT-UAV with six encoder layers and an exit after each, step A of ECO.

Command:  python tools/train.py configs/combinations/exits_rotated_detr_lite0_hit_uav.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 1500 iterations
Result:   not run in this length; docs/combinations.md has the AP of short runs with and without
"""

from mmengine.config import read_base

from vislab.systems.eco_m2f import EcoDETR, SampleExitHook

with read_base():
    from ..mutdet.rotated_detr_lite0_hit_uav_cpu import *

model.update(type=EcoDETR, exits=(1, 2, 3, 4, 5, 6))
model["encoder"].update(num_layers=6)
# as in configs/eco_m2f/_base_/cpu.py: deep exits are sampled more often instead of weighted more
custom_hooks = [dict(type=SampleExitHook, weights=(1, 4, 9, 16, 25, 36))]
