"""What all HNeRV runs share: Adam, warm-up and cosine over 300 epochs, PSNR and MS-SSIM, pictures at the end.

A leaf gives the model its strides and size, and the loaders their `dataset`.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import Adam

from vislab.datasets.samplers import EpochSampler
from vislab.datasets.transforms import PackInputs
from vislab.engine.hooks import CheckpointHook, CurveHook, VisualizationHook
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.evaluation.video import VideoQuality
from vislab.losses import L2Loss
from vislab.models.preprocessor import ImagePreprocessor
from vislab.systems.hnerv import HNeRV, VideoReportHook

with read_base():
    from ..._base_.default_runtime import *

model = dict(
    type=HNeRV,
    loss=dict(type=L2Loss),
    data_preprocessor=dict(type=ImagePreprocessor, channels_last=True),
)

pipeline = [dict(type=PackInputs, meta_keys=("img_path", "frame_index"))]

# frames lie in memory as bytes: workers would only copy them around
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type=EpochSampler, shuffle=True),
    dataset=dict(pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type=EpochSampler, shuffle=False),
    dataset=dict(pipeline=pipeline, test_mode=True),
)
test_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type=EpochSampler, shuffle=False),
    dataset=dict(pipeline=pipeline, test_mode=True),
)
val_evaluator = dict(type=VideoQuality)
test_evaluator = dict(type=VideoQuality)

optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=Adam, lr=1e-3, betas=(0.9, 0.999), fused=True))
param_scheduler = [dict(type=WarmupCosineLR, warmup=0.1, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=30)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=2)

default_hooks.update(checkpoint=dict(type=CheckpointHook, interval=10, max_keep_ckpts=2))
custom_hooks = [
    dict(type=VisualizationHook, number=1),
    dict(type=CurveHook, metrics=["psnr", "ms_ssim"]),
    dict(type=VideoReportHook, rows=3),
]
