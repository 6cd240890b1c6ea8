"""Mask2Former with ResNet-50 on ADE20K panoptic segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_r50_ade20k_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 160 000 iterations
Expected: not run here; published 39.7 PQ, 26.5 AP, 46.1 mIoU (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.ade20k_panoptic import *
