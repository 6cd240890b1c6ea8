"""Maps of one's own images (classes or depth): an FPN on EfficientNet-Lite0 with ImageNet weights, 1,000 iterations."""

from mmengine.config import read_base

from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.fpn import FPNNetwork

with read_base():
    from ..schedules.adamw import *
    from ..schedules.cosine_iterations import *

model = dict(
    network=dict(type=FPNNetwork, encoder=dict(type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=True))
)
train_dataloader.update(batch_size=8, num_workers=2)
val_dataloader.update(num_workers=2)
optim_wrapper["optimizer"].update(lr=1e-3)
optim_wrapper["paramwise_cfg"].update(lr_mult={"network.encoder": 0.5})
optim_wrapper.update(clip_grad=dict(max_norm=10.0))
train_cfg.update(max_iters=1000, val_interval=200)
auto_scale_lr.update(base_batch_size=8)
default_hooks["checkpoint"].update(interval=200)
