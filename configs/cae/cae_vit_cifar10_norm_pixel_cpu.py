"""CAE on a subset of CIFAR-10 with normalized pixels, the default target: 15 epochs.

Command:  python tools/train.py configs/cae/cae_vit_cifar10_norm_pixel_cpu.py
Data:     20,000 + 5,000 CIFAR-10 images; python tools/prepare_data.py cifar10, VISLAB_DATA is the data folder
Hardware: 1 CPU core, about 25 minutes
Result:   at the cost of one epoch (benchmarks/cae_probe.py, seed 0):
          reconstruction loss 0.70, linear accuracy 48.2 %, k-NN 31.5 %
"""

from mmengine.config import read_base

from vislab.engine.hooks import ProbeHook
from vislab.systems.cae import ReconstructionHook

with read_base():
    from ._base_.cifar10_subset import *

custom_hooks[1].update(metrics=["masked/reconstruction", "probe/knn"])
plain_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=size),
    dict(type=CenterCrop, size=size),
    dict(type=PackInputs),
]
plain = dict(cache=False, pipeline=plain_pipeline)
probed = dict(train_dataset=dict(train_set, **plain), test_dataset=dict(val_set, **plain))
custom_hooks += [dict(type=ReconstructionHook), dict(type=ProbeHook, train=4000, test=1000, **probed)]
