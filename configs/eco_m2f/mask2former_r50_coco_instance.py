"""Mask2Former, ResNet-50, COCO instances.

Command:  python tools/train.py configs/eco_m2f/mask2former_r50_coco_instance.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (ImageNet weights, downloaded; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images an iteration, 368 750 iterations (50 epochs)
Expected: not run here; published 43.7 AP (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.coco_instance import *
