"""Fine-tuning of the rotated detector with Swin-T that MutDet pre-trained, on DOTA-v1.0.

Command:  python tools/train.py configs/mutdet/mutdet_finetune_swin_t_dota.py --launcher pytorch
          --load-from work_dirs/mutdet_pretrain_swin_t_rsdet4/epoch_36.pth
Data:     tiles in data/DOTA_tiles, made by tools/dataset_converters/dota_tiles.py
Hardware: published on 4 GPUs, 8 images per iteration, 36 epochs
Expected: not run here; no published AP of this model was found
"""

from mmengine.config import read_base

from vislab.systems.mutdet import StartFromPretraining

with read_base():
    from .rotated_detr_swin_t_dota import *

custom_hooks = [dict(type=StartFromPretraining)]
