"""timesNet with ConvNeXtV2-T as encoder and decoder on NYU Depth v2: 59M parameters, 3.5M of them not pre-trained.

Command:  python tools/train.py configs/timesnet/timesnet_convnextv2_t_convnextv2_t_nyu.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 4 images each, 80,000 iterations
Expected: not run here; no published result. Estimate: AbsRel .095 to .110, RMSE .34 to .38.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.nyu import *

model["network"]["encoder"].update(name="convnextv2_tiny.fcmae_ft_in22k_in1k", drop_path_rate=0.2)
model["network"]["decoder"].update(name="convnextv2_tiny.fcmae_ft_in22k_in1k", drop_path_rate=0.2)
