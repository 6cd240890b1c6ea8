"""timesNet with Swin-L as encoder and ConvNeXt-L as decoder on Cityscapes.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnext_l_cityscapes.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 2 images each, 80,000 iterations
Expected: not run here; published 83.63 mIoU single-scale, 84.32 multi-scale (arXiv 2503.07637, table 8).
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.cityscapes_semantic import *
    from ._base_.semantic import *

model.update(num_classes=19)
model["network"]["encoder"].update(name="swin_large_patch4_window12_384.ms_in22k", img_size=size, drop_path_rate=0.5)
model["network"]["decoder"].update(name="convnext_large.fb_in22k", drop_path_rate=0.4)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
