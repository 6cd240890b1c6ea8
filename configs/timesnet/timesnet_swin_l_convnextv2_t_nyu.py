"""timesNet with Swin-L as encoder and ConvNeXtV2-T as decoder on NYU Depth v2, without extra depth data.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnextv2_t_nyu.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 4 images each, 80,000 iterations
Expected: not run here; published delta1 .936, AbsRel .086, log10 .037 (Ning et al. 2025, arXiv 2503.07637, table 2).
          The schedule of the paper is not published; this one (AdamW, weight decay 0.05, cosine) was chosen here.
          LR2Depth by the same authors uses Adam at 1e-5 for all parts, no weight decay, linear decay to 0.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.nyu import *

model["network"]["encoder"].update(
    name="swin_large_patch4_window12_384.ms_in22k", img_size=(480, 640), drop_path_rate=0.5
)
model["network"]["decoder"].update(name="convnextv2_tiny.fcmae_ft_in22k_in1k", drop_path_rate=0.2)
