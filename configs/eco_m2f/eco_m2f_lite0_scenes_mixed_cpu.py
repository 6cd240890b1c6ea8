"""ECO-M2F step A on two kinds of synthetic scenes, half of each: one large object, or six to ten small, narrow ones.

Command:  python tools/train.py configs/eco_m2f/eco_m2f_lite0_scenes_mixed_cpu.py
Data:     none; ImageNet weights by python tools/prepare_data.py weights (VISLAB_DATA is the data folder), or by
          --cfg-options weights=FILE; weights=False starts from random weights
Hardware: 2 CPU cores, 2000 iterations
Reached:  PQ 60.0 +- 0.7 with all encoder layers, 53.0 +- 0.4 with the first (benchmarks/eco_frontier.py --data mixed:
          three seeds, 9.4 CPU minutes each; 2000 test images)
"""

from mmengine.config import read_base
from mmengine.dataset import ConcatDataset

from vislab.datasets.scenes import Scenes

with read_base():
    from .eco_m2f_lite0_scenes_cpu import *

one_large = dict(type=Scenes, size=size, num_objects=(1, 1), object_length=(1.2, 2.4), aspect_ratio=(0.6, 0.9))
many_small = dict(type=Scenes, size=size, num_objects=(6, 10), object_length=(0.6, 1.2), aspect_ratio=(0.25, 0.45))

train_dataloader["dataset"] = dict(
    type=ConcatDataset,
    datasets=[
        dict(one_large, length=2000, seed=11, pipeline=train_pipeline),
        dict(many_small, length=2000, seed=12, pipeline=train_pipeline),
    ],
)
val_dataloader["dataset"] = dict(
    type=ConcatDataset,
    datasets=[
        dict(one_large, length=100, seed=21, pipeline=test_pipeline, test_mode=True),
        dict(many_small, length=100, seed=22, pipeline=test_pipeline, test_mode=True),
    ],
)
train_cfg.update(max_iters=2000)
