"""Classification of one's own images: EfficientNet-Lite0 with ImageNet weights, fine-tuned for 20 epochs.

`vislab new classification` writes a config on this base.
"""

from mmengine.config import read_base

from vislab.engine.hooks import CurveHook
from vislab.evaluation.classification import Accuracy
from vislab.models.classifier import ImageClassifier

with read_base():
    from ..schedules.adamw import *
    from ..schedules.cosine_epochs import *

model = dict(type=ImageClassifier, name="tf_efficientnet_lite0", num_classes=1000, pretrained=True)
train_dataloader.update(batch_size=16, num_workers=2, persistent_workers=True, drop_last=True)
val_dataloader.update(batch_size=16, num_workers=2, persistent_workers=True)
optim_wrapper["optimizer"].update(lr=5e-4)
optim_wrapper.update(clip_grad=dict(max_norm=1.0))
param_scheduler[0].update(warmup=0.1)
train_cfg.update(max_epochs=20, val_interval=1)
auto_scale_lr.update(base_batch_size=16)
default_hooks["checkpoint"].update(save_best="accuracy/top1", rule="greater")
custom_hooks = [dict(type=CurveHook, metrics=["accuracy/top1"])]
val_evaluator = dict(type=Accuracy)
