"""Rotated Deformable DETR for two CPU cores: EfficientNet-Lite0, 128 channels, 2 encoder and 3 decoder layers.

Muon updates the weight matrices of encoder and decoder, and Adam everything else.
"""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper

from vislab.engine.optim.muon import Muon
from vislab.engine.optim.muon_groups import MuonOptimConstructor
from vislab.evaluation.rotated_map import RotatedMAP
from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from ..._base_.models.rotated_deformable_detr import *
    from ..._base_.schedules.cosine_iterations import *

weights = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
model["backbone"] = dict(
    type=TimmEncoder,
    name="tf_efficientnet_lite0",
    pretrained=weights,
    out_indices=(2, 3, 4),
    norm_eval=True,
    frozen_stages=4,
)
model.update(dim=128, num_levels=3, num_queries=100)
model["encoder"].update(num_layers=2, ffn_dim=512, dropout=0.0)
model["decoder"].update(num_layers=3, ffn_dim=512, dropout=0.0)
model["inference"].update(max_instances=200)
model["data_preprocessor"].update(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

train_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
val_dataloader.update(batch_size=4, num_workers=0, persistent_workers=False)
optim_wrapper = dict(
    type=OptimWrapper,
    constructor=MuonOptimConstructor,
    paramwise_cfg=dict(
        matrices=["encoder.layers", "decoder.layers"],
        exclude=["*.sampling_offsets", "*.attention_weights"],
        lr_mult={"backbone": 0.2},
    ),
    optimizer=dict(type=Muon, lr=0.01, adam_lr=1e-3, weight_decay=1e-4, fused=True),
    clip_grad=dict(max_norm=1.0, norm_type=2),
)
val_evaluator = dict(type=RotatedMAP, forms=("11point",))
train_cfg.update(max_iters=2000, val_interval=500)
auto_scale_lr.update(base_batch_size=4)
default_hooks["checkpoint"].update(interval=500)
