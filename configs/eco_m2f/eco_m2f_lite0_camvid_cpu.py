"""ECO-M2F with EfficientNet-Lite0 on CamVid at 192x256, step A: semantic segmentation, 11 classes.

Command:  python tools/train.py configs/eco_m2f/eco_m2f_lite0_camvid_cpu.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 2000 iterations
Reached:  mIoU 57.9 +- 2.7 over the 30 test images with all encoder layers (benchmarks/eco_frontier.py --data camvid:
          three seeds of 600 iterations, 3.5 / 3.3 / 3.5 CPU minutes); the full 2000 iterations were not run
"""

from mmengine.config import read_base

from vislab.datasets.transforms import (
    LargeScaleJitter,
    LoadImage,
    LoadSemSeg,
    PackInputs,
    RandomFlip,
    Resize,
    SemSegToInstances,
)

with read_base():
    from .._base_.datasets.camvid import *
    from ._base_.cpu import *

size = (192, 256)
train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadSemSeg),
    dict(type=LargeScaleJitter, size=size, ratio_range=(1.0, 1.75)),
    dict(type=RandomFlip, prob=0.5),
    dict(type=SemSegToInstances),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=LoadSemSeg),
    dict(type=PackInputs),
]
model.update(num_classes=11, thing_classes=11)
model["inference"].update(tasks=("semantic",))
train_dataloader.update(batch_size=2, dataset=dict(train_set, pipeline=train_pipeline))
val_dataloader.update(dataset=dict(val_set, pipeline=test_pipeline))
train_cfg.update(max_iters=2000)
