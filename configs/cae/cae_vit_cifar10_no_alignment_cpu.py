"""CAE on a subset of CIFAR-10 without the alignment loss, a control: 15 epochs.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_no_alignment_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 1 CPU core, about 25 minutes
Result:   at the cost of one epoch (benchmarks/cae_probe.py, seed 0):
          reconstruction loss 0.67, linear accuracy 47.2 %, k-NN 33.8 %
"""

from mmengine.config import read_base

with read_base():
    from ._base_.cifar10_subset import *

model.update(alignment_weight=0.0)
