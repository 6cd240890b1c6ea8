"""Mask2Former with Swin-T on Cityscapes panoptic segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_t_cityscapes_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 90 000 iterations
Expected: not run here; published 63.9 PQ, 80.5 mIoU (model zoo of facebookresearch/Mask2Former).
          Its 39.1 AP is the metric of Cityscapes, which is not comparable with `coco/segm_mAP`
"""

from mmengine.config import read_base

with read_base():
    from .._base_.models.swin import *
    from ._base_.cityscapes_panoptic import *

model["backbone"] = backbone
