"""CAE v2, ViT-B/16 on ImageNet at 224x224: 300 epochs with the features of CLIP ViT-B/16 for all tokens.

Command:  python tools/train.py configs/cae/caev2_vit_b_imagenet_300ep.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; timm downloads CLIP's weights
Hardware: published with batches of 2048 on 32 GPUs, 300 epochs
Expected: not run here; top-1 accuracy of this size not found (arXiv 2211.09799 states that of ViT-L in its abstract)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.imagenet_v2 import *
