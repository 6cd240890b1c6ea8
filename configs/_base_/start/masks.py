"""Masks of one's own images: a small Mask2Former on EfficientNet-Lite0 with ImageNet weights, 3,000 iterations."""

from mmengine.config import read_base

from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from ..models.mask2former import *
    from ..schedules.adamw import *
    from ..schedules.cosine_iterations import *

widths = dict(dim=128, mask_dim=128, num_heads=8, ffn_dim=512)
model.update(
    backbone=dict(
        type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=True, norm_eval=True, out_indices=(1, 2, 3, 4)
    ),
    num_queries=50,
    pixel_decoder=dict(**widths),
    decoder=dict(**widths, num_layers=3),
    loss=dict(num_points=4096),
)
model["data_preprocessor"].update(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
train_dataloader.update(batch_size=4, num_workers=2)
val_dataloader.update(batch_size=4, num_workers=2)
optim_wrapper["optimizer"].update(lr=5e-4)
optim_wrapper["paramwise_cfg"].update(lr_mult={"backbone": 0.2})
optim_wrapper.update(clip_grad=dict(max_norm=1.0, norm_type=2))
train_cfg.update(max_iters=3000, val_interval=500)
auto_scale_lr.update(base_batch_size=4)
default_hooks["checkpoint"].update(interval=500)
