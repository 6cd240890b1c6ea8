"""ECO-M2F with EfficientNet-Lite0 on 70 COCO images at 192x256, step A: panoptic segmentation, 133 classes.

Command:  python tools/train.py configs/eco_m2f/eco_m2f_lite0_coco_panoptic_cpu.py
Data:     python tools/prepare_data.py weights coco; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 2000 iterations
Reached:  PQ 1.5 +- 0.7 over the 30 test images with all encoder layers (benchmarks/eco_frontier.py --data
          coco_panoptic: three seeds of 1000 iterations, 6.2 / 6.0 / 5.8 CPU minutes); the full 2000 iterations were
          not run
"""

from mmengine.config import read_base

with read_base():
    from .._base_.datasets.coco_panoptic_small import *
    from ._base_.cpu import *

model.update(num_classes=133, thing_classes=80)
model["inference"].update(tasks=("panoptic",), score_threshold=0.2)
train_dataloader.update(batch_size=2, dataset=train_set)
val_dataloader.update(dataset=val_set)
train_cfg.update(max_iters=2000)
