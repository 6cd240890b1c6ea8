"""CAE on a subset of CIFAR-10 with histograms of oriented gradients: 15 epochs.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_hog_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 1 CPU core, about 25 minutes
Result:   at the cost of one epoch (benchmarks/cae_probe.py, seed 0):
          reconstruction loss 0.058 (zeros: 0.11), linear accuracy 42.0 %, k-NN 29.0 %
"""

from mmengine.config import read_base

from vislab.systems.cae import HogTarget

with read_base():
    from ._base_.cifar10_subset import *

# one cell of 4x4 pixels in a patch; zeros have a loss of 0.11, a ninth of that of normalized pixels
model.update(target=dict(type=HogTarget, cell_size=4), alignment_weight=0.02)
