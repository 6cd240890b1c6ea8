"""ECO-M2F on CamVid with a ViT as backbone that CAE has pre-trained (cae_vit_camvid.py).

Command:  python tools/train.py configs/combinations/cae_eco_m2f_camvid.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 2000 iterations
Result:   not run in this length; docs/combinations.md has the mIoU of short runs with and without
"""

from mmengine.config import read_base

from vislab.models.encoders.pyramid import PyramidEncoder

with read_base():
    from ..eco_m2f.eco_m2f_lite0_camvid_cpu import *
    from ._base_.cae_vit import *

model["backbone"] = dict(type=PyramidEncoder, encoder=vit)
model["data_preprocessor"].update(mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010))  # of the pre-training
optim_wrapper["paramwise_cfg"]["lr_mult"].update(backbone=1.0)
