"""HNeRV-3M of the paper on one UVG video at 960x1920: 2 937 939 decoder parameters. One run per video.

Command:  python tools/train.py configs/hnerv/hnerv_uvg_960x1920_3m.py --cfg-options source=data/uvg/jockey
Data:     the video's 1080p frames as images in one folder (or a video file), crop 960x1920
Hardware: published on one RTX 2080 Ti, 300 epochs
Expected: not run here; published PSNR (Chen et al. 2023) Beauty 33.58, Bosphorus 34.73, HoneyBee 38.96, Jockey 32.04,
          ReadySetGo 25.74, ShakeNDry 34.57, YachtRide 29.26 dB
"""

from mmengine.config import read_base

with read_base():
    from ._base_.uvg import *

model.update(strides=(5, 4, 4, 3, 2), decoder_width=92)
