"""Mask2Former with Swin-L and 200 queries on COCO instance segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_l_coco_instance.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, about 100 epochs
Expected: not run here; published 50.1 AP (model zoo of facebookresearch/Mask2Former)
"""

from mmengine.config import read_base

with read_base():
    from .mask2former_swin_t_coco_instance import *

model["backbone"].update(name="swin_large_patch4_window12_384.ms_in22k")
model.update(num_queries=200)
train_cfg.update(max_iters=737500)
