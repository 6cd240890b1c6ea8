"""Rotated boxes in one's own images: a small two-stage Deformable DETR on EfficientNet-Lite0 with ImageNet weights.

`vislab new rotated` writes a config on this base.
"""

from mmengine.config import read_base

from vislab.evaluation.rotated_map import RotatedMAP
from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from ..models.rotated_deformable_detr import *
    from ..schedules.adamw import *
    from ..schedules.cosine_iterations import *

model["backbone"] = dict(
    type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=True, out_indices=(2, 3, 4), norm_eval=True
)
model.update(dim=128, num_levels=3, num_queries=100)
model["encoder"].update(num_layers=2, ffn_dim=512, dropout=0.0)
model["decoder"].update(num_layers=3, ffn_dim=512, dropout=0.0)
model["data_preprocessor"].update(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
train_dataloader.update(batch_size=4, num_workers=2)
val_dataloader.update(batch_size=4, num_workers=2)
optim_wrapper["optimizer"].update(lr=5e-4, weight_decay=1e-4)
optim_wrapper["paramwise_cfg"].update(lr_mult={"backbone": 0.2})
optim_wrapper.update(clip_grad=dict(max_norm=1.0, norm_type=2))
train_cfg.update(max_iters=3000, val_interval=500)
auto_scale_lr.update(base_batch_size=4)
default_hooks["checkpoint"].update(interval=500)
val_evaluator = dict(type=RotatedMAP)
