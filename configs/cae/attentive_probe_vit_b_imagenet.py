"""Attentive probe of a ViT-B/16 pre-trained with CAE on ImageNet: one query over all tokens; SGD, 90 epochs.

Command:  python tools/train.py configs/cae/attentive_probe_vit_b_imagenet.py --load-from CHECKPOINT
          [--cfg-options model.pool=efficient model.pool_args.num_heads=None model.pool_args.num_queries=8]
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; CHECKPOINT of a cae_vit_b_imagenet config
Hardware: published on 32 GPUs with batches of 256
Expected: not run here; published top-1 accuracy 74.0, 75.9, 77.2 after 300, 800, 1600 epochs of pre-training
          (README of the official code)
"""

from mmengine.config import read_base
from torch.optim import SGD

with read_base():
    from ._base_.probe_imagenet import *

model.update(pool="attentive", norm_eps=1e-5)
train_dataloader.update(batch_size=256)  # on each of 32 GPUs
optim_wrapper.update(optimizer=dict(type=SGD, lr=0.4, momentum=0.9, nesterov=True, fused=True))
auto_scale_lr.update(base_batch_size=8192)
