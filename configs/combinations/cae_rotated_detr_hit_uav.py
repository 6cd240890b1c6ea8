"""Rotated Deformable DETR on HIT-UAV with a ViT as backbone that CAE has pre-trained (cae_vit_camvid.py).

Command:  python tools/train.py configs/combinations/cae_rotated_detr_hit_uav.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 1500 iterations
Result:   not run in this length; docs/combinations.md has the AP of short runs with and without
"""

from mmengine.config import read_base

with read_base():
    from ..mutdet.rotated_detr_lite0_hit_uav_cpu import *
    from ._base_.cae_vit import *

model["backbone"] = dict(vit, out_indices=(-1,))  # stride 8; the neck adds strides 16 and 32
model["data_preprocessor"].update(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))  # of the pre-training
optim_wrapper["paramwise_cfg"]["lr_mult"].update(backbone=1.0)
