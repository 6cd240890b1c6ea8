"""CAE v2: a head predicts CLIP's features of all tokens; no decoder blocks, no alignment; smaller crops, colors."""

from mmengine.config import read_base

from vislab.datasets.transforms import Albu
from vislab.systems.cae import FeatureTarget

with read_base():
    from .imagenet_images import *

model.update(
    decoder=dict(type=LatentDecoder, depth=0),
    target=dict(type=FeatureTarget, teacher="vit_base_patch16_clip_224.openai", project=True, pretrained=True),
    alignment_weight=0.0,
    target_drop_path=False,
)
jitter = dict(name="ColorJitter", brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.6, 1.4), hue=0, p=1)
train_dataloader["dataset"]["pipeline"][1].update(scale=(0.4, 1.0))
train_dataloader["dataset"]["pipeline"].insert(2, dict(type=Albu, transforms=[jitter]))
custom_hooks[1].update(metrics=["masked/reconstruction"])
