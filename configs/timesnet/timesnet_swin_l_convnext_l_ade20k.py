"""timesNet with Swin-L as encoder and ConvNeXt-L as decoder on ADE20K, crops of 512x512.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnext_l_ade20k.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 2 images each, 160,000 iterations
Expected: not run here; published 54.3 mIoU (Ning et al. 2025, arXiv 2503.07637, table 7).
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.ade20k_semantic import *
    from ._base_.semantic import *

model.update(num_classes=150)
model["network"]["encoder"].update(name="swin_large_patch4_window12_384.ms_in22k", img_size=size, drop_path_rate=0.5)
model["network"]["decoder"].update(name="convnext_large.fb_in22k", drop_path_rate=0.4)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
train_cfg.update(max_iters=160000, val_interval=16000)
