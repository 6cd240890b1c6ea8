"""ViT with 4 layers and width 96 on a subset of CIFAR-10: Adam, 15 epochs, without TrAct.

Command:  python tools/train.py configs/tract/cifar10_subset_vit_adam_cpu_plain.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 2 CPU cores, a few minutes
Expected: not run to the end; benchmarks/tract_cifar.py measures the top-1 accuracy
"""

from mmengine.config import read_base
from torch.optim import Adam

with read_base():
    from .._base_.models.vit_cifar import *
    from ._base_.cifar10_subset import *

model["data_preprocessor"] = data_preprocessor
model["model_args"].update(depth=4, num_heads=3, embed_dim=96, mlp_ratio=2)
optim_wrapper["optimizer"] = dict(type=Adam, lr=1e-3, fused=True)
