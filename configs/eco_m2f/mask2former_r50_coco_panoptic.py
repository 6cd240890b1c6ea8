"""Mask2Former with ResNet-50 on COCO panoptic segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_r50_coco_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 368 750 iterations (50 epochs)
Expected: not run here; published 51.9 PQ, 41.7 AP, 61.7 mIoU (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.coco_panoptic import *
