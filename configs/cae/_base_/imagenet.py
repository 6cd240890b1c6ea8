"""CAE's published pre-training of a ViT-B on ImageNet at 224x224, without target and data; 98 of 196 patches masked.

Batch 2048 over 32 GPUs, AdamW at 1.5e-3, a cosine to 1e-5 per step; 300 epochs.
"""

from mmengine.config import read_base
from torch.optim import AdamW

from vislab.engine.hooks import CurveHook
from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.models.encoders.vit import ViT
from vislab.systems.cae import (
    CAE,
    BlockMask,
    CollapseHook,
    LatentDecoder,
    LatentRegressor,
    MaskedImagePreprocessor,
    MaskedLosses,
)

with read_base():
    from ..._base_.datasets.imagenet import *
    from ..._base_.schedules.cosine_epochs import *

model = dict(
    type=CAE,
    encoder=dict(
        type=ViT, img_size=size, patch_size=16, dim=768, depth=12, num_heads=12, init_values=0.1, drop_path_rate=0.1
    ),
    regressor=dict(type=LatentRegressor, dim=768, depth=4, num_heads=12, init_values=0.1, drop_path_rate=0.1),
    decoder=dict(type=LatentDecoder, depth=4, num_heads=12, init_values=0.1, drop_path_rate=0.1),
    target_drop_path=True,  # as in the official code
    data_preprocessor=dict(data_preprocessor, type=MaskedImagePreprocessor),
)
mask = dict(type=BlockMask, num_masked=(size // 16) ** 2 // 2, patch_size=16)
loaders = dict(batch_size=64, num_workers=8, persistent_workers=True)
train_dataloader.update(loaders, pin_memory=True, drop_last=True)
val_dataloader.update(loaders)
val_evaluator = dict(type=MaskedLosses)

optim_wrapper = dict(
    type=AmpOptimWrapper,
    dtype="bfloat16",  # published: float16
    clip_grad=dict(max_norm=3.0),
    optimizer=dict(type=AdamW, lr=1.5e-3, betas=(0.9, 0.999), weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,
    paramwise_cfg=dict(layer_decay=1.0),
)
scheduler = dict(type=WarmupCosineLR, start_factor=0.0, final_factor=1 / 150, by_epoch=True, convert_to_iter_based=True)
param_scheduler = [dict(scheduler, warmup=10 / 300)]
train_cfg.update(max_epochs=300, val_interval=20)
auto_scale_lr.update(base_batch_size=2048)
default_hooks["checkpoint"].update(interval=20)
custom_hooks = [dict(type=CollapseHook), dict(type=CurveHook, metrics=["masked/reconstruction", "masked/alignment"])]
