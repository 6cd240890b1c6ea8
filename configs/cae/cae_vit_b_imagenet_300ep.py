"""CAE, ViT-B/16 on ImageNet at 224x224: 300 epochs with the codes of the dVAE.

Command:  python tools/train.py configs/cae/cae_vit_b_imagenet_300ep.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; the dVAE's encoder in data/dalle_encoder.pth
          (vislab/systems/cae/dvae.py says how to make it)
Hardware: published on 32 GPUs with batches of 64, 300 epochs
Expected: not run here; published top-1 accuracy: linear 64.5, attentive 74.0, fine-tuned 83.6; ADE20K 48.1 mIoU
          (README of the official code)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.imagenet_codes import *
