"""Deformable DETR with ResNet-50 on COCO boxes.

Command:  python tools/train.py configs/mutdet/deformable_detr_r50_coco.py --launcher pytorch
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 32 images per iteration, 50 epochs
Expected: not run here; published 44.5 AP (fundamentalvision/Deformable-DETR)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.deformable_detr import *
