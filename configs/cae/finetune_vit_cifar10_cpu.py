"""Fine-tuning of the small ViT of the cae_vit_cifar10 configs on a subset of CIFAR-10: 15 epochs.

Command:  python tools/train.py configs/cae/finetune_vit_cifar10_cpu.py --load-from CHECKPOINT
          (without --load-from: training from random weights, to compare with)
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder;
          CHECKPOINT of a cae_vit_cifar10 config
Hardware: 2 CPU cores, about 15 minutes
Expected: not run to the end; higher top-1 accuracy than without --load-from
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import AdamW

from vislab.engine.hooks import CurveHook
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.models.encoder_classifier import EncoderClassifier
from vislab.models.encoders.vit import ViT

with read_base():
    from .._base_.datasets.cifar10_subset import *
    from .._base_.schedules.cosine_epochs import *

model = dict(
    type=EncoderClassifier,
    encoder=dict(
        type=ViT, img_size=32, patch_size=4, dim=128, depth=4, num_heads=4, init_values=0.1, rel_pos_bias=True
    ),
    num_classes=10,
    pool="mean",
    norm="encoder",
    head_std=2e-5,
    data_preprocessor=data_preprocessor,
)
train_dataloader.update(dataset=train_set, drop_last=True)
val_dataloader.update(dataset=val_set)
optim_wrapper = dict(
    type=OptimWrapper,
    clip_grad=dict(max_norm=3.0),
    optimizer=dict(type=AdamW, lr=2e-3, weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,
    paramwise_cfg=dict(layer_decay=0.75),
)
param_scheduler = [dict(type=WarmupCosineLR, warmup=0.1, by_epoch=True, convert_to_iter_based=True)]
train_cfg.update(max_epochs=15, val_interval=1)
default_hooks["checkpoint"].update(interval=5, max_keep_ckpts=1, save_best="accuracy/top1", rule="greater")
custom_hooks = [dict(type=CurveHook, metrics=["accuracy/top1"])]
