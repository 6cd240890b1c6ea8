"""timesNet on CamVid with a ViT as encoder that CAE has pre-trained (cae_vit_camvid.py), EfficientNet-Lite0 as decoder.

Command:  python tools/train.py configs/combinations/cae_timesnet_lite0_camvid.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 400 iterations
Result:   not run in this length; docs/combinations.md has the mIoU of short runs with and without
"""

from mmengine.config import read_base

with read_base():
    from ..timesnet.timesnet_lite0_lite0_camvid import *
    from ._base_.cae_vit import vit

model["network"]["encoder"] = dict(vit, out_indices=(-1,))
optim_wrapper["paramwise_cfg"]["lr_mult"].update({"network.encoder": 1.0})
