"""CAE's published fine-tuning on ImageNet at 224x224, without the encoder's size: batch 4096, a cosine to 1e-6.

Mean of the patch tokens, then the encoder's norm; relative position bias in each block; RandAugment, mixup, cutmix and
random erasing.
"""

from mmengine.config import read_base
from torch.optim import AdamW

from vislab.datasets.transforms import RandAugment
from vislab.engine.hooks import CurveHook
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.models.batch_augment import RandomErasing
from vislab.models.encoder_classifier import EncoderClassifier
from vislab.models.encoders.vit import ViT

with read_base():
    from ..._base_.datasets.imagenet import *
    from ..._base_.schedules.cosine_epochs import *

model = dict(
    type=EncoderClassifier,
    encoder=dict(type=ViT, img_size=size, patch_size=16, rel_pos_bias=True),
    num_classes=1000,
    pool="mean",
    norm="encoder",
    head_std=2e-5,  # 0.02 times the published scale of 0.001
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1),
    data_preprocessor=dict(data_preprocessor, batch_augment=dict(type=RandomErasing, prob=0.25)),
)
train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomResizedCrop, size=size, interpolation="bicubic"),
    dict(type=RandomFlip, prob=0.5),
    dict(type=RandAugment, policy="rand-m9-mstd0.5-inc1"),
    dict(type=PackInputs),
]
loaders = dict(num_workers=8, persistent_workers=True)
train_dataloader.update(loaders, pin_memory=True, drop_last=True, dataset=dict(train_set, pipeline=train_pipeline))
val_dataloader.update(loaders, dataset=val_set)
optim_wrapper = dict(
    type=AmpOptimWrapper,
    dtype="bfloat16",
    optimizer=dict(type=AdamW, lr=8e-3, weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,
    paramwise_cfg=dict(layer_decay=0.65),
)
scheduler = dict(type=WarmupCosineLR, start_factor=0.0, by_epoch=True, convert_to_iter_based=True)
train_cfg.update(val_interval=5)
auto_scale_lr.update(base_batch_size=4096)
default_hooks["checkpoint"].update(interval=5, max_keep_ckpts=1, save_best="accuracy/top1", rule="greater")
custom_hooks = [dict(type=CurveHook, metrics=["accuracy/top1"])]
