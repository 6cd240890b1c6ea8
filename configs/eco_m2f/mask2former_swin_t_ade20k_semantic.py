"""Mask2Former with Swin-T on ADE20K semantic segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_t_ade20k_semantic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 160 000 iterations
Expected: not run here; published 47.7 mIoU (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.swin import *
    from ._base_.ade20k_semantic import *

model["backbone"] = backbone
