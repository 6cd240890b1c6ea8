"""Mask2Former with Swin-T on COCO panoptic segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_t_coco_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 368 750 iterations (50 epochs)
Expected: not run here; published 53.2 PQ, 43.3 AP, 63.2 mIoU (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.swin import *
    from ._base_.coco_panoptic import *

model["backbone"] = backbone
