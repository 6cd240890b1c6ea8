"""Rotated Deformable DETR (ARS-DETR) with Swin-T on DIOR-R, 800x800, trained on trainval and tested on test.

Command:  python tools/train.py configs/mutdet/rotated_detr_swin_t_dior_r.py --launcher pytorch
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Data:     the full set in data/DIOR, see data/README.md
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; no published AP without pre-training was found
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.dior_r import *
    from ._base_.swin_t import *

model.update(num_classes=20)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
