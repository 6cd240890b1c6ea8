"""HNeRV on one UVG video at 960x1920."""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.uvg import *
    from .hnerv import *

train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
