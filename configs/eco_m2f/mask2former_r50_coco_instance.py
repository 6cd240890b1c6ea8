"""Mask2Former with ResNet-50 on COCO instance segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_r50_coco_instance.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 368 750 iterations (50 epochs)
Expected: not run here; published 43.7 AP (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.coco_instance import *
