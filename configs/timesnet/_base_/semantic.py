"""timesNet for semantic segmentation: 2 images on each of 8 GPUs."""

from mmengine.config import read_base

from vislab.models.dense import SemanticSegmentor
from vislab.models.dense_inference import DenseInference

with read_base():
    from .timesnet import *

model.update(type=SemanticSegmentor, inference=dict(type=DenseInference))
model["network"].update(head="bilinear")
train_dataloader.update(batch_size=2)
auto_scale_lr.update(base_batch_size=16)
