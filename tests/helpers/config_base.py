"""A valid config with all sections, into which tests insert one mistake. The tests set data_root."""

# ruff: noqa: C408

from mmengine.dataset import pseudo_collate
from mmengine.hooks import CheckpointHook, EMAHook, LoggerHook
from mmengine.model import BaseDataPreprocessor, TruncNormalInit
from mmengine.optim import CosineAnnealingLR, LinearLR, OptimWrapper
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend, Visualizer
from torch.optim import SGD

from tests.helpers.config_parts import (
    PartAccuracy,
    PartChoice,
    PartDataset,
    PartFlip,
    PartHead,
    PartHook,
    PartModel,
    PartResize,
)
from vislab.datasets.samplers import EpochSampler

default_scope = "vislab"
data_root = "DATA_ROOT"
flip_prob = 0.5
model = dict(
    type=PartModel,
    width=16,
    mode="exact",
    pretrained=False,
    head=dict(
        type=PartHead, num_classes=3, in_channels=16, init_cfg=dict(type=TruncNormalInit, layer="Linear", std=0.01)
    ),
    data_preprocessor=dict(type=BaseDataPreprocessor, non_blocking=True),
)
train_pipeline = [
    dict(type=PartResize, size=(32, 32)),
    dict(type=PartChoice, transforms=[dict(type=PartFlip, prob=flip_prob)]),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    dataset=dict(type=PartDataset, data_root=data_root, ann_file="train.json", pipeline=train_pipeline),
    sampler=dict(type=EpochSampler, shuffle=True),
    collate_fn=dict(type=pseudo_collate),
)
val_dataloader = dict(
    batch_size=4,
    dataset=dict(type=PartDataset, data_root=data_root, ann_file="train.json", data_prefix=dict(img="images")),
    sampler=dict(type="EpochSampler", shuffle=False),
)
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = dict()
val_evaluator = [dict(type=PartAccuracy, topk=(1, 5))]
optim_wrapper = dict(
    type=OptimWrapper,
    optimizer=dict(type=SGD, lr=0.1, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=1.0),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(head=dict(lr_mult=10.0))),
)
param_scheduler = [
    dict(type=LinearLR, start_factor=0.1, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type=CosineAnnealingLR, T_max=2, begin=1, end=3),
]
default_hooks = dict(logger=dict(type=LoggerHook, interval=5), checkpoint=dict(type=CheckpointHook, interval=1))
custom_hooks = [dict(type=EMAHook, momentum=0.001), dict(type=PartHook, interval=2, priority="LOW")]
auto_scale_lr = dict(enable=False, base_batch_size=4)
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method="fork"), dist_cfg=dict(backend="gloo"))
randomness = dict(seed=0)
visualizer = dict(type=Visualizer, vis_backends=[dict(type=LocalVisBackend)])
log_processor = dict(type=LogProcessor, window_size=10, by_epoch=True)
log_level = "INFO"
