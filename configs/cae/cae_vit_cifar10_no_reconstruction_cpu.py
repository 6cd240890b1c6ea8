"""CAE on a subset of CIFAR-10 without reconstruction, a control: 15 epochs.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_no_reconstruction_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 1 CPU core, about 25 minutes
Result:   after 360 steps (benchmarks/cae_probe.py, seed 0) no collapse, linear accuracy 44.8 %
"""

from mmengine.config import read_base

with read_base():
    from ._base_.cifar10_subset import *

model.update(reconstruction_weight=0.0, alignment_weight=2.0)
custom_hooks[1].update(metrics=["masked/alignment"])
