"""CAE, ViT-L/16 on ImageNet at 224x224: 1600 epochs with the codes of the dVAE.

Command:  python tools/train.py configs/cae/cae_vit_l_imagenet_1600ep.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; the dVAE's encoder in data/dalle_encoder.pth
          (vislab/systems/cae/dvae.py says how to make it)
Hardware: published on 32 GPUs with batches of 64, 1600 epochs
Expected: not run here; published top-1 accuracy: linear 77.8, attentive 81.2, fine-tuned 86.2; ADE20K 54.9 mIoU
          (README of the official code)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.imagenet_vit_l import *

param_scheduler = [dict(scheduler, warmup=40 / 1600)]
train_cfg.update(max_epochs=1600)
