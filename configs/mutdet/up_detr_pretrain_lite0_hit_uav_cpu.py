"""Pre-training as in UP-DETR, a control of MutDet: queries get the embeddings of the objects that they should find.

Command:  python tools/train.py configs/mutdet/up_detr_pretrain_lite0_hit_uav_cpu.py
Data:     hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder, then
          python tools/pseudo_labels.py $VISLAB_DATA/hit_uav/train --out pseudo/hit_uav --dims 128 --clusters 64
          --encoder tf_efficientnet_lite0 --weights $VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors
Hardware: 2 CPU cores, 2000 iterations
Result:   not run; AP after fine-tuning counts. The objects are the pseudo boxes of the other arms, where UP-DETR draws
          random patches
"""

from mmengine.config import read_base

from vislab.systems.mutdet import EmbeddingRegression

with read_base():
    from .mutdet_pretrain_lite0_hit_uav_cpu import *

model.update(
    num_classes=1,
    enhancement=None,
    alignment=dict(type=EmbeddingRegression, distance="mse"),
    prompted=True,
    denoising=None,
)
train_dataloader["dataset"].update(single_class=True)
val_dataloader["dataset"].update(single_class=True)
