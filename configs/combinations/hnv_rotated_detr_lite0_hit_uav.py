"""Rotated Deformable DETR on HIT-UAV, whose validation images are decoded from a .hnv file.

Command:  python tools/train.py configs/combinations/hnv_rotated_detr_lite0_hit_uav.py
          python tools/test.py configs/combinations/hnv_rotated_detr_lite0_hit_uav.py CHECKPOINT
          with a CHECKPOINT of this config or of configs/mutdet/rotated_detr_lite0_hit_uav_cpu.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 1500 iterations
Result:   not run in this length; docs/combinations.md has the AP of short runs with and without
"""

from mmengine.config import read_base

from vislab.datasets.transforms import LoadVideoFrame

with read_base():
    from ..mutdet.rotated_detr_lite0_hit_uav_cpu import *

video = "hit_uav_val.hnv"  # vislab hnerv encode $VISLAB_DATA/hit_uav/val hit_uav_val.hnv
val_dataloader["dataset"].update(pipeline=[dict(type=LoadVideoFrame, source=video), *test_pipeline])
