"""What all classification runs share: loaders, top-1 and top-5, cosine without warm-up over the whole run."""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import SGD

from vislab.datasets.samplers import EpochSampler
from vislab.engine.hooks import CurveHook
from vislab.engine.optim.schedulers import WarmupCosineLR
from vislab.evaluation.classification import Accuracy

with read_base():
    from ..._base_.default_runtime import *

train_dataloader = dict(batch_size=128, num_workers=0, drop_last=True, sampler=dict(type=EpochSampler, shuffle=True))
val_dataloader = dict(batch_size=256, num_workers=0, sampler=dict(type=EpochSampler, shuffle=False))
test_dataloader = dict(batch_size=256, num_workers=0, sampler=dict(type=EpochSampler, shuffle=False))
val_evaluator = dict(type=Accuracy, topk=(1, 5))
test_evaluator = dict(type=Accuracy, topk=(1, 5))

optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.08, momentum=0.9, fused=True))
param_scheduler = [dict(type=WarmupCosineLR, warmup=0.0, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(enable=False, base_batch_size=128)

default_hooks["checkpoint"].update(interval=10, max_keep_ckpts=1, save_best="accuracy/top1", rule="greater")
custom_hooks = [dict(type=CurveHook, metrics=["accuracy/top1"])]
