"""MAE on a subset of CIFAR-10, a control with CAE's encoder and target, 75 % of the patches masked: 15 epochs.

Command:  python tools/train.py configs/cae/mae_vit_cifar10_norm_pixel_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 1 CPU core, about 25 minutes; 313 MFLOP for a step of one image, CAE 293
Expected: not run to the end; a reconstruction loss below 1 is better than the mean of each patch
"""

from mmengine.config import read_base

from vislab.systems.cae import MAE, RandomMask

with read_base():
    from ._base_.cifar10_subset import *

model = dict(
    type=MAE,
    encoder=model["encoder"],
    decoder=dict(type=LatentDecoder, depth=3, num_heads=4, init_values=0.1),
    target=model["target"],
    data_preprocessor=model["data_preprocessor"],
)
mask = dict(type=RandomMask, num_masked=48, patch_size=4)
train_dataloader["dataset"]["pipeline"][3] = mask
val_dataloader["dataset"]["pipeline"][3] = mask
