"""Pre-training as in DETReg, a control of MutDet: pseudo boxes, and regression of the given embeddings.

Command:  python tools/train.py configs/mutdet/detreg_pretrain_lite0_hit_uav_cpu.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder, then
          python tools/pseudo_labels.py $VISLAB_DATA/hit_uav/train --out pseudo/hit_uav --dims 128 --clusters 64
          --encoder tf_efficientnet_lite0 --weights $VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors
Hardware: 2 CPU cores, 2000 iterations
Result:   not run; AP after fine-tuning counts
"""

from mmengine.config import read_base

from vislab.systems.mutdet import EmbeddingRegression

with read_base():
    from .mutdet_pretrain_lite0_hit_uav_cpu import *

model.update(num_classes=1, enhancement=None, alignment=dict(type=EmbeddingRegression, distance="l1"))
train_dataloader["dataset"].update(single_class=True)
val_dataloader["dataset"].update(single_class=True)
