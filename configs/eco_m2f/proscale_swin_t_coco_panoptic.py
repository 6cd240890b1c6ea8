"""PRO-SCALE, Swin-T, COCO panoptic: nine encoder layers, on one, two and three levels.

Command:  python tools/train.py configs/eco_m2f/proscale_swin_t_coco_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (ImageNet weights, downloaded; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images an iteration, 368 750 iterations
Expected: not run here; published 52.88 PQ (README of abhishekaich27/proscale-pytorch)
"""

from mmengine.config import read_base

from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from ._base_.coco_panoptic import *

model["backbone"] = dict(
    type=TimmEncoder,
    name="swin_tiny_patch4_window7_224.ms_in1k",
    pretrained=False,
    out_norm="layer",
    drop_path_rate=0.3,
)
model.update(pixel_decoder=dict(stages=(3, 3, 3), recalibrate=True, light=True))
