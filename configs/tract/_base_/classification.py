"""Image classification: SGD with momentum, cosine schedule; keeps the checkpoint with the best top-1 accuracy."""

from mmengine.config import read_base
from mmengine.optim import OptimWrapper
from torch.optim import SGD

from vislab.engine.hooks import CurveHook

with read_base():
    from ..._base_.schedules.cosine_epochs import *

train_dataloader.update(drop_last=True)
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.08, momentum=0.9, fused=True))
default_hooks["checkpoint"].update(interval=10, max_keep_ckpts=1, save_best="accuracy/top1", rule="greater")
custom_hooks = [dict(type=CurveHook, metrics=["accuracy/top1"])]
