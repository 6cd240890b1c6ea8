"""HNeRV-3M of the paper on one UVG video at 480x960: 2 961 853 decoder parameters. One run per video.

Command:  python tools/train.py configs/hnerv/hnerv_uvg_480x960_3m.py --cfg-options source=data/uvg/jockey
Data:     the video's 1080p frames as images in one folder (or a video file), crop 960x1920,
          resized to 480x960, bicubic
Hardware: published on one RTX 2080 Ti, 300 epochs
Expected: not run here; published PSNR (Chen et al. 2023) Beauty 36.91, Bosphorus 36.95, HoneyBee 42.05, Jockey 33.33,
          ReadySetGo 27.07, ShakeNDry 36.97, YachtRide 30.96 dB
"""

from mmengine.config import read_base

with read_base():
    from ._base_.uvg import *

model.update(strides=(5, 4, 3, 2, 2), decoder_width=110)
resized = dict(resize=(480, 960), interpolation="bicubic")
train_dataloader["dataset"].update(resized)
val_dataloader["dataset"].update(resized)
