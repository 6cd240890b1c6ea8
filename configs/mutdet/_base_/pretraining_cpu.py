"""MutDet's pre-training of the detector for CPUs: 64 clusters of embeddings with 128 channels, frozen backbone."""

from mmengine.config import read_base

from vislab.systems.mutdet import MutDet

with read_base():
    from .cpu import *

model.update(type=MutDet, num_classes=64, enhancement=dict(depth=3, num_heads=8, hidden_dim=1024, embed_dim=512))
model["backbone"].update(frozen_stages=-1)
