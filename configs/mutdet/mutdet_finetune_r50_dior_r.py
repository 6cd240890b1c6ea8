"""Fine-tuning of the rotated detector with ResNet-50 that MutDet pre-trained, on DIOR-R.

Command:  python tools/train.py configs/mutdet/mutdet_finetune_r50_dior_r.py --launcher pytorch
          --load-from work_dirs/mutdet_pretrain_r50_dota/epoch_36.pth
Data:     the full set in data/DIOR, see data/README.md
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; published AP50 70.7, AP75 51.2 (ECCV 2024, table 2)
"""

from mmengine.config import read_base

from vislab.systems.mutdet import StartFromPretraining

with read_base():
    from .rotated_detr_r50_dior_r import *

custom_hooks = [dict(type=StartFromPretraining)]
