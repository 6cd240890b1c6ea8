"""Pre-training of MutDet with EfficientNet-Lite0 on the images of HIT-UAV without labels, at 256x320.

Command:  python tools/train.py configs/mutdet/mutdet_pretrain_lite0_hit_uav_cpu.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder, then
          python tools/pseudo_labels.py $VISLAB_DATA/hit_uav/train --out pseudo/hit_uav --dims 128 --clusters 64
          --encoder tf_efficientnet_lite0 --weights $VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors
Hardware: 2 CPU cores, 2000 iterations
Result:   not run; AP after fine-tuning counts
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.hit_uav_pseudo import *
    from ._base_.pretraining_cpu import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
