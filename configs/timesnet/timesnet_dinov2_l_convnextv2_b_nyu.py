"""timesNet with DINOv2-L as encoder and ConvNeXtV2-B as decoder on NYU Depth v2, the best model of the paper.

Command:  python tools/train.py configs/timesnet/timesnet_dinov2_l_convnextv2_b_nyu.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 4 images each, 80,000 iterations
Expected: not run here; published delta1 .990, AbsRel .045, log10 .020 (Ning et al. 2025, arXiv 2503.07637, table 2);
          the paper does not state whether extra depth data was used.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.nyu import *

model["network"]["encoder"].update(name="vit_large_patch14_dinov2.lvd142m", out_norm="final", drop_path_rate=0.3)
model["network"]["decoder"].update(name="convnextv2_base.fcmae_ft_in22k_in1k", drop_path_rate=0.2)
