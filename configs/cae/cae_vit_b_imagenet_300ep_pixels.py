"""CAE, ViT-B/16 on ImageNet at 224x224: 300 epochs with normalized pixels, which need no other network.

Command:  python tools/train.py configs/cae/cae_vit_b_imagenet_300ep_pixels.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/
Hardware: 32 GPUs with batches of 64, 300 epochs
Expected: not run here; no published accuracy: this is not the model of the paper, whose target are codes of a dVAE. By
          operations a training step takes two thirds of one with codes.
"""

from mmengine.config import read_base

from vislab.systems.cae import NormPixelTarget

with read_base():
    from ._base_.imagenet_images import *

model.update(target=dict(type=NormPixelTarget), alignment_weight=0.2)
