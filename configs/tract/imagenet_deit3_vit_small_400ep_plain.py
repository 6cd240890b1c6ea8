"""DeiT-III ViT-S/16 on ImageNet at 224x224: 400 epochs, without TrAct.

Command:  python tools/train.py configs/tract/imagenet_deit3_vit_small_400ep_plain.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/
Hardware: published on 4 A40 GPUs, about 66 hours
Expected: not run here; published 81.23 top-1, 95.70 top-5 accuracy after a further 50 epochs of fine-tuning
          (arXiv 2410.23970)
"""

from mmengine.config import read_base
from torch.optim import AdamW

from vislab.engine.optim.amp import AmpOptimWrapper
from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.losses import BinaryCrossEntropy
from vislab.models.classifier import ImageClassifier

with read_base():
    from ._base_.imagenet import *

model = dict(
    type=ImageClassifier,
    name="deit3_small_patch16_224",
    img_size=size,
    num_classes=1000,
    drop_path_rate=0.05,
    loss=dict(type=BinaryCrossEntropy),
    mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0),
    data_preprocessor=data_preprocessor,
)
# AdamW and plain crops replace LAMB and 3-Augment of the original recipe, so the accuracy may be slightly lower
optim_wrapper = dict(
    type=AmpOptimWrapper,
    clip_grad=dict(max_norm=1.0),
    optimizer=dict(type=AdamW, lr=3e-3, weight_decay=0.05, fused=True),
    constructor=LayerDecayOptimConstructor,  # no decay of norms, biases, class token, positions
    paramwise_cfg=dict(layer_decay=1.0),
)
param_scheduler = [dict(type=WarmupCosineLR, warmup=0.0125, by_epoch=True, convert_to_iter_based=True)]
train_cfg.update(max_epochs=400, val_interval=10)
train_dataloader.update(batch_size=512)  # on each of 4 GPUs
auto_scale_lr.update(base_batch_size=2048)
