"""Pre-training as in UP-DETR, a control of MutDet: find random patches, whose features are added to the queries.

Command:  python tools/train.py configs/mutdet/up_detr_pretrain_lite0_hit_uav_cpu.py
Data:     images of hit_uav (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 2000 iterations
Result:   not run; AP after fine-tuning counts. There is no validation, where no query has the features of a patch
"""

from mmengine.config import read_base

from vislab.datasets.corner_text import CornerText
from vislab.datasets.transforms import LoadImage, PackInputs, RandomFlip, Resize
from vislab.systems.mutdet import EmbeddingRegression, RandomPatches

with read_base():
    from ._base_.pretraining_cpu import *

model.update(
    num_classes=1,
    enhancement=None,
    alignment=dict(type=EmbeddingRegression, distance="mse"),
    prompted=True,
    crop_size=128,
    denoising=None,
)
train_set = dict(
    type=CornerText,
    data_root="$VISLAB_DATA/hit_uav/train",
    images="*.jpg",
    labels="",
    classes=("object",),
    pipeline=[
        dict(type=LoadImage),
        dict(type=Resize, size=(256, 320), keep_ratio=True),
        dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal")),
        dict(type=RandomPatches, num_patches=10, rotated=True),
        dict(type=PackInputs),
    ],
)
train_dataloader.update(dataset=train_set)
val_dataloader = val_evaluator = val_cfg = None
test_dataloader = test_evaluator = test_cfg = None
