"""imagenet.py with the published target: the codes of DALL-E's dVAE for a second view of 112x112 pixels."""

from mmengine.config import read_base

from vislab.systems.cae import DalleTarget, RandomResizedCropTwice

with read_base():
    from .imagenet import *

model.update(target=dict(type=DalleTarget, pretrained="data/dalle_encoder.pth"), alignment_weight=2.0)
two_views = dict(type=RandomResizedCropTwice, size=size, target_size=size // 2)
train_pipeline = [dict(type=LoadImage), dict(type=RandomFlip, prob=0.5), two_views, mask, dict(type=PackInputs)]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=8 * size // 7),
    dict(type=CenterCrop, size=size),
    dict(two_views, scale=(1.0, 1.0), ratio=(1.0, 1.0)),  # the whole image
    mask,
    dict(type=PackInputs),
]
train_dataloader.update(dataset=dict(train_set, pipeline=train_pipeline))
val_dataloader.update(dataset=dict(val_set, pipeline=test_pipeline))
