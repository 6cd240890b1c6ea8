"""CAE on a subset of CIFAR-10 with the codes of the dVAE, which cost far more than the model: 15 epochs.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_dalle.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder;
          the dVAE's encoder in data/dalle_encoder.pth (vislab/systems/cae/dvae.py says how to make it)
Hardware: 1 GPU
Expected: not run; the reconstruction loss starts at log 8192 = 9.0
"""

from mmengine.config import read_base

from vislab.systems.cae import DalleTarget, RandomResizedCropTwice

with read_base():
    from ._base_.cifar10_subset import *

model.update(target=dict(type=DalleTarget, pretrained="data/dalle_encoder.pth"), alignment_weight=2.0)
two_views = dict(type=RandomResizedCropTwice, size=size, target_size=2 * size, scale=scale)
train_dataloader["dataset"]["pipeline"][1:3] = [dict(type=RandomFlip, prob=0.5), two_views]
whole_image = dict(two_views, scale=(1.0, 1.0), ratio=(1.0, 1.0))
val_dataloader["dataset"]["pipeline"].insert(3, whole_image)
