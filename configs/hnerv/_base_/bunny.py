"""HNeRV on Big Buck Bunny at 640x1280."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.bunny import *
    from .hnerv import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
