"""timesNet on NYU Depth v2, 80,000 iterations."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.nyu import *
    from .depth import *

model.update(max_depth=max_depth)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
