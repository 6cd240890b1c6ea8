"""Mask2Former with Swin-L and 200 queries on Cityscapes panoptic segmentation.

Command:  python tools/train.py configs/eco_m2f/mask2former_swin_l_cityscapes_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 90 000 iterations
Expected: not run here; published 66.6 PQ, 82.9 mIoU (model zoo of facebookresearch/Mask2Former).
          Its 43.6 AP is the metric of Cityscapes, which is not comparable with `coco/segm_mAP`
"""

from mmengine.config import read_base

with read_base():
    from .mask2former_swin_t_cityscapes_panoptic import *

model["backbone"].update(name="swin_large_patch4_window12_384.ms_in22k")
model.update(num_queries=200)
