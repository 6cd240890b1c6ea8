"""ECO-M2F with EfficientNet-Lite0 on synthetic scenes of 128x128, step A: panoptic, 3 thing and 2 stuff classes.

Command:  python tools/train.py configs/eco_m2f/eco_m2f_lite0_scenes_cpu.py
Data:     none; ImageNet weights by python tools/prepare_data.py weights (VISLAB_DATA is the data folder), or by
          --cfg-options weights=FILE; weights=False starts from random weights
Hardware: 2 CPU cores, 3000 iterations
Reached:  PQ 56.4 +- 1.3 with all encoder layers, 45.7 +- 2.2 with the first (benchmarks/eco_frontier.py --data
          scenes: three seeds of 600 iterations, 4.0 / 3.5 / 3.4 CPU minutes; 600 test images); the full 3000
          iterations were not run
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.scenes_panoptic import *
    from ._base_.cpu import *

model.update(num_classes=5, thing_classes=3)
model["inference"].update(tasks=("panoptic", "semantic"))
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
