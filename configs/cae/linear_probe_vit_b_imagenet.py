"""Linear probe of a ViT-B/16 pre-trained with CAE on ImageNet: class token, batch norm, linear; LARS, 90 epochs.

Command:  python tools/train.py configs/cae/linear_probe_vit_b_imagenet.py --load-from CHECKPOINT
          [--cfg-options optim_wrapper.optimizer.lr=3.2], one run for each rate to compare
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; CHECKPOINT of a cae_vit_b_imagenet config
Hardware: published on 32 GPUs with batches of 512
Expected: not run here; published top-1 accuracy 64.5, 68.9, 70.3 after 300, 800, 1600 epochs of pre-training
          (README of the official code). timm's LARS adapts the rate of the bias too, the official one does not.
"""

from mmengine.config import read_base
from timm.optim import Lars

with read_base():
    from ._base_.probe_imagenet import *

model.update(pool="class", norm_eps=1e-6)
train_dataloader.update(batch_size=512)  # on each of 32 GPUs
optim_wrapper.update(optimizer=dict(type=Lars, lr=6.4, momentum=0.9, trust_coeff=0.001, always_adapt=True))
auto_scale_lr.update(base_batch_size=16384)
