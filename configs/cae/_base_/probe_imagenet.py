"""CAE's published probes of a frozen ViT-B/16 on ImageNet: 90 epochs, crops and flips only, no weight decay."""

from mmengine.config import read_base

from vislab.engine.hooks import CurveHook
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.models.encoder_classifier import EncoderClassifier
from vislab.models.encoders.vit import ViT

with read_base():
    from ..._base_.datasets.imagenet import *
    from ..._base_.schedules.cosine_epochs import *

model = dict(
    type=EncoderClassifier,
    encoder=dict(type=ViT, img_size=size, patch_size=16, dim=768, depth=12, num_heads=12, init_values=0.1),
    num_classes=1000,
    frozen=True,
    norm="batch",
    head_std=0.01,
    data_preprocessor=data_preprocessor,
)
loaders = dict(num_workers=8, persistent_workers=True)
train_dataloader.update(loaders, pin_memory=True, drop_last=True, dataset=train_set)
val_dataloader.update(loaders, dataset=val_set)
optim_wrapper = dict(type=AmpOptimWrapper, dtype="bfloat16")
param_scheduler = [
    dict(type=WarmupCosineLR, warmup=10 / 90, start_factor=0.0, by_epoch=True, convert_to_iter_based=True)
]
train_cfg.update(max_epochs=90, val_interval=10)
default_hooks["checkpoint"].update(interval=10, max_keep_ckpts=1, save_best="accuracy/top1", rule="greater")
custom_hooks = [dict(type=CurveHook, metrics=["accuracy/top1"])]
