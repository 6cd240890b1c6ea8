"""Big Buck Bunny at 160x320 with 0.29M decoder parameters, minutes on two CPU cores. Optimizer of the paper: Adam."""

from mmengine.config import read_base

with read_base():
    from .bunny import *

model.update(strides=(5, 4, 4), decoder_width=34)  # 293 802 decoder parameters, 16x2x4 embedding values per frame
resized = dict(resize=(160, 320), interpolation="area")
train_dataloader["dataset"].update(resized)
val_dataloader["dataset"].update(resized)

train_dataloader.update(batch_size=1)
auto_scale_lr.update(base_batch_size=1)
optim_wrapper["optimizer"].update(lr=2e-3)
train_cfg.update(max_epochs=36, val_interval=6)
default_hooks["checkpoint"].update(interval=3)
