"""MutDet's pre-training of the rotated detector: 36 epochs at 1024x1024, frozen backbone, 256 clusters as classes.

The published configs name different depths; encoder and decoder have 6 layers here, as in fine-tuning.
"""

from mmengine.config import read_base

from vislab.systems.mutdet import MutDet

with read_base():
    from ..._base_.datasets.dota_pseudo import *
    from .rotated import *

model.update(type=MutDet, num_classes=256, enhancement=dict(depth=3, num_heads=8, hidden_dim=2048, embed_dim=1024))
model["backbone"].update(frozen_stages=-1)
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
