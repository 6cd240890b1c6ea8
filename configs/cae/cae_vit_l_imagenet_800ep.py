"""CAE, ViT-L/16 on ImageNet at 224x224: 800 epochs with the codes of the dVAE.

Command:  python tools/train.py configs/cae/cae_vit_l_imagenet_800ep.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; the dVAE's encoder in data/dalle_encoder.pth
          (vislab/systems/cae/dvae.py says how to make it)
Hardware: published on 32 GPUs with batches of 64, 800 epochs
Expected: not run here; published top-1 accuracy: linear 76.3, attentive 80.0, fine-tuned 86.0; ADE20K 54.4 mIoU
          (issue 17 of lxtGH/CAE)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.imagenet_vit_l import *

param_scheduler = [dict(scheduler, warmup=20 / 800)]
train_cfg.update(max_epochs=800)
