"""Fine-tuning of the rotated detector with ResNet-50 that MutDet pre-trained, on DOTA-v1.0.

Command:  python tools/train.py configs/mutdet/mutdet_finetune_r50_dota.py --launcher pytorch
          --load-from work_dirs/mutdet_pretrain_r50_dota/epoch_36.pth
Data:     tiles in data/DOTA_tiles, made by tools/dataset_converters/dota_tiles.py
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; published AP50 74.5, AP75 51.6 on the test server (ECCV 2024, table 3)
"""

from mmengine.config import read_base

from vislab.systems.mutdet import StartFromPretraining

with read_base():
    from .rotated_detr_r50_dota import *

custom_hooks = [dict(type=StartFromPretraining)]
