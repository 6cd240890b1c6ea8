"""timesNet with Swin-L as encoder and ConvNeXt-B as decoder on KITTI, Eigen's split.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnext_b_kitti.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 4 images each, 80,000 iterations
Expected: not run here; published delta1 .978, AbsRel .048, RMSlog .075 (Ning et al. 2025, arXiv 2503.07637, table 3).
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.kitti import *
    from ._base_.depth import *

model.update(max_depth=max_depth)
model["network"]["encoder"].update(
    name="swin_large_patch4_window12_384.ms_in22k", img_size=(352, 1216), drop_path_rate=0.5
)
model["network"]["decoder"].update(name="convnext_base.fb_in22k", drop_path_rate=0.2)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
