"""Fine-tuning of the rotated detector with EfficientNet-Lite0 that MutDet pre-trained, on HIT-UAV at 256x320.

Command:  python tools/train.py configs/mutdet/mutdet_finetune_lite0_hit_uav_cpu.py
          --load-from work_dirs/mutdet_pretrain_lite0_hit_uav_cpu/iter_2000.pth
          --cfg-options train_dataloader.dataset.label_share=0.05   for 5 % of the labels
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 1500 iterations
Result:   not run; for AP of all arms, see benchmarks/mutdet_fewshot.py
"""

from mmengine.config import read_base

from vislab.systems.mutdet import StartFromPretraining

with read_base():
    from .rotated_detr_lite0_hit_uav_cpu import *

custom_hooks = [dict(type=StartFromPretraining)]
