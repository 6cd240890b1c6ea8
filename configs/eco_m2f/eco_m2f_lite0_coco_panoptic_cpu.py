"""ECO-M2F step A on 70 COCO photos at 192x256, EfficientNet-Lite0: panoptic, 133 classes.

Command:  python tools/train.py configs/eco_m2f/eco_m2f_lite0_coco_panoptic_cpu.py
Data:     python tools/prepare_data.py weights coco; VISLAB_DATA names the folder
Hardware: 2 CPU cores, 2000 iterations
Reached:  PQ 1.5 +- 0.7 over the 30 test images with all layers (benchmarks/eco_frontier.py --data coco_panoptic: three
          seeds of 1000 iterations, 6.2 / 6.0 / 5.8 CPU minutes); 2000 iterations not run
"""

from mmengine.config import read_base

from vislab.datasets.coco import CocoDataset
from vislab.datasets.transforms import (
    LargeScaleJitter,
    LoadImage,
    LoadPanoptic,
    PackInputs,
    PanopticToInstances,
    RandomFlip,
    Resize,
)
from vislab.evaluation.panoptic import PanopticMetric

with read_base():
    from ._base_.cpu import *

data_root = "$VISLAB_DATA/coco_panoptic"
size = (192, 256)
train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadPanoptic),
    dict(type=RandomFlip, prob=0.5),
    dict(type=LargeScaleJitter, size=size, ratio_range=(0.8, 2.0)),
    dict(type=PanopticToInstances),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=Resize, size=size, keep_ratio=True),
    dict(type=LoadPanoptic),
    dict(type=PackInputs),
]
train_set = dict(type=CocoDataset, data_root=data_root, pipeline=train_pipeline)
train_set.update(ann_file="annotations/panoptic_train.json", data_prefix=dict(img="train", panoptic="panoptic_train"))
train_dataloader.update(batch_size=2, dataset=train_set)
test_set = dict(type=CocoDataset, data_root=data_root, pipeline=test_pipeline, test_mode=True)
test_set.update(ann_file="annotations/panoptic_val.json", data_prefix=dict(img="val", panoptic="panoptic_val"))
val_dataloader.update(dataset=test_set)
test_dataloader.update(dataset=test_set)
val_evaluator = dict(type=PanopticMetric)
test_evaluator = dict(type=PanopticMetric)
model.update(num_classes=133, thing_classes=80, tasks=("panoptic",), score_threshold=0.2)
train_cfg.update(max_iters=2000)
