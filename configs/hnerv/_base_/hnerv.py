"""HNeRV: Adam, 300 epochs with warm-up and a cosine schedule; an image and a .hnv file after training.

bunny.py and uvg.py add the video; configs add strides and width of the model.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import Adam

from vislab.engine.hooks import CurveHook
from vislab.losses import L2Loss
from vislab.models.preprocessor import ImagePreprocessor
from vislab.systems.hnerv import HNeRV, VideoFileHook, VideoReportHook

with read_base():
    from ..._base_.schedules.cosine_epochs import *

model = dict(
    type=HNeRV,
    loss=dict(type=L2Loss),
    data_preprocessor=dict(type=ImagePreprocessor, channels_last=True),
)
train_dataloader.update(batch_size=2)
val_dataloader.update(batch_size=1)

optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=Adam, lr=1e-3, betas=(0.9, 0.999), fused=True))
param_scheduler[0].update(warmup=0.1)
train_cfg.update(max_epochs=300, val_interval=30)
auto_scale_lr.update(base_batch_size=2)

default_hooks["checkpoint"].update(interval=10)
default_hooks["visualization"].update(number=1)
custom_hooks = [
    dict(type=CurveHook, metrics=["psnr", "ms_ssim"]),
    dict(type=VideoReportHook, rows=3),
    dict(type=VideoFileHook),
]
