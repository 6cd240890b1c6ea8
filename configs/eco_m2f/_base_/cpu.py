"""ECO-M2F for two CPU cores: EfficientNet-Lite0, a narrow Mask2Former with six exits, training of step A."""

from mmengine.config import read_base

from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.eco_m2f import EcoM2F, SampleExitHook

with read_base():
    from ..._base_.schedules.cosine_iterations import *
    from .mask2former import *

widths = dict(dim=96, mask_dim=96, num_heads=6, ffn_dim=256)
weights = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
model.update(
    type=EcoM2F,
    exits=(1, 2, 3, 4, 5, 6),
    num_queries=30,
    pixel_decoder=dict(**widths),
    decoder=dict(**widths, num_layers=3),
    loss=dict(num_points=1024),
)
model["inference"].update(rle_masks=False, score_threshold=0.5)
model["backbone"] = dict(
    type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=weights, norm_eval=True, frozen_stages=-1
)
model["data_preprocessor"].update(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
# gradient clipping and AdamW mostly cancel the loss weights alpha, so deep exits are sampled more often instead
custom_hooks = [dict(type=SampleExitHook, weights=(1, 4, 9, 16, 25, 36))]

train_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
optim_wrapper["optimizer"].update(lr=1e-3)
optim_wrapper["paramwise_cfg"].update(lr_mult={"backbone": 0.2}, decay_bias=False)
optim_wrapper["clip_grad"].update(max_norm=1.0)
param_scheduler[0].update(warmup=0.03)
train_cfg.update(max_iters=3000, val_interval=1000)
auto_scale_lr.update(base_batch_size=4)
default_hooks["checkpoint"].update(interval=500)
