"""Mask2Former, Swin-L, 200 queries, COCO instances.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_l_coco_instance.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (ImageNet weights, downloaded; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images an iteration, about 100 epochs
Expected: not run here; published 50.1 AP (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from ._base_.coco_instance import *

model["backbone"] = dict(
    type=TimmEncoder,
    name="swin_large_patch4_window12_384.ms_in22k",
    pretrained=False,
    out_norm="layer",
    drop_path_rate=0.3,
)
model.update(num_queries=200)
train_cfg.update(max_iters=737500)
