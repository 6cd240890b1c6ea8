"""CAE, ViT-L/16 on ImageNet at 224x224: 300 epochs with the codes of the dVAE.

Command:  python tools/train.py configs/cae/cae_vit_l_imagenet_300ep.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; the dVAE's encoder in data/dalle_encoder.pth
          (vislab/systems/cae/dvae.py says how to make it)
Hardware: published on 32 GPUs with batches of 64, 300 epochs
Expected: not run here; no published top-1 accuracy of this length
"""

from mmengine.config import read_base

with read_base():
    from ._base_.imagenet_vit_l import *
