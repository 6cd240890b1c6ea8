"""CAE v2, ViT-L/16 on ImageNet at 224x224: 300 epochs with the features of CLIP ViT-L/14 for all tokens.

Command:  python tools/train.py configs/cae/caev2_vit_l_imagenet_300ep.py
Data:     ImageNet-1k in data/imagenet/{train,val}/<synset>/; timm downloads CLIP's weights
Hardware: published with batches of 2048 on 32 GPUs, 300 epochs
Expected: not run here; published top-1 accuracy: linear 81.7, fine-tuned 86.7; ADE20K 55.9 mIoU (arXiv 2211.09799)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.imagenet_v2 import *

model["encoder"].update(dim=1024, depth=24, num_heads=16, init_values=1e-5)
model["regressor"].update(dim=1024, num_heads=16)
# at 196 pixels (7/8), patches of 14 give the same grid of 14x14 tokens
model["target"].update(teacher="vit_large_patch14_clip_224.openai", img_size=7 * size // 8)
