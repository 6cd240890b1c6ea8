"""CAE on a subset of CIFAR-10 without the alignment loss, a control: 15 epochs.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_no_alignment_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 2 CPU cores, about 15 minutes
Expected: not run to the end; a reconstruction loss below 1 is better than the mean of each patch
"""

from mmengine.config import read_base

with read_base():
    from ._base_.cifar10_subset import *

model.update(alignment_weight=0.0)
