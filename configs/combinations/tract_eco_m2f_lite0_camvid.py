"""ECO-M2F on CamVid with a trained backbone, its first layer with TrAct.

Command:  python tools/train.py configs/combinations/tract_eco_m2f_lite0_camvid.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 2000 iterations
Result:   not run in this length; docs/combinations.md has the mIoU of short runs with and without
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from ..eco_m2f.eco_m2f_lite0_camvid_cpu import *

model["backbone"].update(frozen_stages=0)
custom_hooks += [dict(type=TrActHook, lam=0.1, layer="backbone.model.conv_stem")]
