"""CAE on 20,000 images of CIFAR-10 at 32x32, for two CPU cores: 8x8 patches of 4 pixels, half of them masked in blocks.

A ViT of 4 blocks and width 128, one block each in regressor and decoder; 15 epochs.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import AdamW

from vislab.datasets.transforms import (
    CenterCrop,
    LoadImage,
    PackInputs,
    RandomFlip,
    RandomResizedCrop,
    ResizeShortestEdge,
)
from vislab.engine.hooks import CurveHook
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
    NormPixelTarget,
)

with read_base():
    from ..._base_.datasets.cifar10_subset import *
    from ..._base_.schedules.cosine_epochs import *

size = 32
scale = (0.6, 1.0)  # area of the crops
model = dict(
    type=CAE,
    encoder=dict(type=ViT, img_size=size, patch_size=4, dim=128, depth=4, num_heads=4, init_values=0.1, patch_std=0.2),
    regressor=dict(type=LatentRegressor, dim=128, depth=1, num_heads=4, init_values=0.1),
    decoder=dict(type=LatentDecoder, depth=1, num_heads=4, init_values=0.1),
    target=dict(type=NormPixelTarget),
    alignment_weight=0.2,
    data_preprocessor=dict(type=MaskedImagePreprocessor, mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.2010)),
)
mask = dict(type=BlockMask, num_masked=(size // 4) ** 2 // 2, patch_size=4)
train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomResizedCrop, size=size, scale=scale),
    dict(type=RandomFlip, prob=0.5),
    mask,
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=size),
    dict(type=CenterCrop, size=size),
    mask,
    dict(type=PackInputs),
]
train_dataloader.update(batch_size=64, drop_last=True, dataset=dict(train_set, pipeline=train_pipeline))
val_dataloader.update(dataset=dict(val_set, pipeline=test_pipeline))
val_evaluator = dict(type=MaskedLosses)

optim_wrapper = dict(
    type=OptimWrapper,
    clip_grad=dict(max_norm=3.0),
    optimizer=dict(type=AdamW, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,
    paramwise_cfg=dict(layer_decay=1.0),
)
param_scheduler = [dict(type=WarmupCosineLR, warmup=0.1, by_epoch=True, convert_to_iter_based=True)]
train_cfg.update(max_epochs=15, val_interval=5)
auto_scale_lr.update(base_batch_size=64)
default_hooks["checkpoint"].update(interval=5)
default_hooks["logger"].update(interval=52)
custom_hooks = [dict(type=CollapseHook), dict(type=CurveHook, metrics=["masked/reconstruction"])]
