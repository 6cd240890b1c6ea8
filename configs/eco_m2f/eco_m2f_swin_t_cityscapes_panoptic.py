"""ECO-M2F with Swin-T on Cityscapes panoptic segmentation, step A: exits after 2 to 6 encoder layers.

Command:  python tools/train.py configs/eco_m2f/eco_m2f_swin_t_cityscapes_panoptic.py --launcher pytorch --amp
          --cfg-options model.backbone.pretrained=True   (downloads ImageNet weights; or the path of a file)
Hardware: published on 8 V100 GPUs, 16 images per iteration, 90 000 iterations (published: about 43 000)
Expected: not run here; published with the gate: 64.18 PQ at 508 GMAC (beta 0.003), 62.09 PQ at 440 (beta 0.01)
          (README of GYeow/ECO-M2F)
"""

from mmengine.config import read_base

from vislab.systems.eco_m2f import EcoM2F, SampleExitHook

with read_base():
    from .mask2former_swin_t_cityscapes_panoptic import *

model.update(type=EcoM2F, exits=(2, 3, 4, 5, 6), exit_mode="sample", alpha="linear")
custom_hooks = [dict(type=SampleExitHook)]
