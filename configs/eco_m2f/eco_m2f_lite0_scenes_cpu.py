"""ECO-M2F step A on drawn scenes of 128x128, EfficientNet-Lite0: panoptic, 3 things and 2 kinds of stuff.

Command:  python tools/train.py configs/eco_m2f/eco_m2f_lite0_scenes_cpu.py
Data:     none; ImageNet weights by python tools/prepare_data.py weights (VISLAB_DATA names the folder), or by
          --cfg-options weights=FILE; weights=False starts at random
Hardware: 2 CPU cores, 3000 iterations
Reached:  PQ 56.4 +- 1.3 with all layers, 45.7 +- 2.2 after the first (benchmarks/eco_frontier.py --data scenes: three
          seeds of 600 iterations, 4.0 / 3.5 / 3.4 CPU minutes; 600 test images); 3000 iterations not run
"""

from mmengine.config import read_base

from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import (
    LoadImage,
    PackInputs,
    PanopticToInstances,
    PanopticToSemSeg,
    RandomFlip,
)
from vislab.evaluation.coco import CocoMetric
from vislab.evaluation.panoptic import PanopticMetric
from vislab.evaluation.semantic import SemSegMetric

with read_base():
    from ._base_.cpu import *

size = 128
train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PanopticToInstances),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=PanopticToSemSeg),
    dict(type=PackInputs),
]
scenes = dict(type=Scenes, size=size, num_objects=(1, 10))
train_dataloader.update(dataset=dict(scenes, length=4000, seed=1, pipeline=train_pipeline))
test_set = dict(scenes, length=200, seed=2, pipeline=test_pipeline, test_mode=True)
val_dataloader.update(dataset=test_set)
test_dataloader.update(dataset=test_set)
val_evaluator = [dict(type=PanopticMetric), dict(type=SemSegMetric)]
test_evaluator = [dict(type=PanopticMetric), dict(type=SemSegMetric)]
model.update(num_classes=5, thing_classes=3, tasks=("panoptic", "semantic"))
