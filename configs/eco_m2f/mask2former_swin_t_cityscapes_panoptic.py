"""Mask2Former, Swin-T, Cityscapes panoptic.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_t_cityscapes_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (ImageNet weights, downloaded; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images an iteration, 90 000 iterations
Expected: not run here; published 63.9 PQ, 80.5 mIoU (model zoo of facebookresearch/Mask2Former); its
          39.1 AP is Cityscapes' own measure, `coco/segm_mAP` here is COCO's: not comparable
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.swin import *
    from ._base_.cityscapes_panoptic import *

model["backbone"] = backbone
