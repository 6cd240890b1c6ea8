"""Rotated Deformable DETR on HIT-UAV, whose validation images are decoded from a .hnv file.

Command:  python tools/test.py configs/combinations/hnv_rotated_detr_lite0_hit_uav.py CHECKPOINT_OF_ROTATED_DETR_LITE0_HIT_UAV_CPU
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores
Result:   RESULT
"""

from mmengine.config import read_base

from vislab.datasets.transforms import LoadVideoFrame

with read_base():
    from ..mutdet.rotated_detr_lite0_hit_uav_cpu import *

video = "hit_uav_val.hnv"  # vislab hnerv encode $VISLAB_DATA/hit_uav/val hit_uav_val.hnv
val_dataloader["dataset"].update(pipeline=[dict(type=LoadVideoFrame, source=video, size=(512, 640)), *test_pipeline])
