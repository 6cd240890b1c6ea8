"""Swin-L x ConvNeXtV2-T on NYU Depth v2, the paper's model without extra depth data.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnextv2_t_nyu.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 4 images each, 80,000 iterations
Expected: not run here; published delta1 .936, AbsRel .086, log10 .037 (Ning et al. 2025, arXiv 2503.07637, table 2).
          The paper's schedule is not published. This one is ours (AdamW, decay 0.05, cosine), not that of
          the same authors' LR2Depth (Adam at 1e-5 for all parts, no decay, linear to 0).
"""

from mmengine.config import read_base

with read_base():
    from ._base_.nyu import *

model["network"]["encoder"].update(
    name="swin_large_patch4_window12_384.ms_in22k", img_size=(480, 640), drop_path_rate=0.5
)
model["network"]["decoder"].update(name="convnextv2_tiny.fcmae_ft_in22k_in1k", drop_path_rate=0.2)
