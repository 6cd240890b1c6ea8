"""Two-stage Deformable DETR for horizontal boxes with EfficientNet-Lite0 on 60 photographs of DIOR at 512x512.

Command:  python tools/train.py configs/mutdet/deformable_detr_lite0_dior_photos_cpu.py
Data:     dior_photos (data/README.md), python tools/prepare_data.py weights; VISLAB_DATA is the data folder
Hardware: 2 CPU cores, 2000 iterations
Result:   AP not measured, not run
"""

from mmengine.config import read_base

from vislab.evaluation.coco import CocoMetric

with read_base():
    from .._base_.datasets.dior_photos import *
    from ._base_.cpu import *

model.update(num_classes=4, rotated=False)
train_dataloader.update(batch_size=2, dataset=train_set)
val_dataloader.update(batch_size=2, dataset=val_set)
val_evaluator = dict(type=CocoMetric, iou_types=("bbox",))
