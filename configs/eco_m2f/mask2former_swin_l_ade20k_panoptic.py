"""Mask2Former with Swin-L and 200 queries on ADE20K panoptic segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_l_ade20k_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 160 000 iterations
Expected: not run here; published 48.1 PQ, 34.2 AP, 54.5 mIoU (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.swin import *
    from ._base_.ade20k_panoptic import *

model.update(num_queries=200)
model["backbone"] = dict(backbone, name="swin_large_patch4_window12_384.ms_in22k")
