"""timesNet on CamVid, the first layer of its encoder trained with TrAct.

Command:  python tools/train.py configs/combinations/tract_timesnet_lite0_camvid.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 400 iterations
Result:   not run in this length; docs/combinations.md has the mIoU of short runs with and without
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from ..timesnet.timesnet_lite0_lite0_camvid import *

# the first layer by order of definition belongs to the decoder
custom_hooks = [dict(type=TrActHook, lam=0.1, layer="network.encoder.model.conv_stem")]
