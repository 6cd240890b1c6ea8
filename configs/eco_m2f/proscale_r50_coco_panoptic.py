"""PRO-SCALE with ResNet-50 on COCO panoptic segmentation: nine encoder layers, three each on one, two and three levels.

Command:  python tools/train.py configs/eco_m2f/proscale_r50_coco_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 368 750 iterations
Expected: not run here; published 51.44 PQ (README of abhishekaich27/proscale-pytorch)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.coco_panoptic import *

model.update(pixel_decoder=dict(stages=(3, 3, 3), recalibrate=True, light=True))
