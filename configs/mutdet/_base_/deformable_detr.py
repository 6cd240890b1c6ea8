"""Deformable DETR on COCO boxes, 50 epochs, with the published optimizer: AdamW, learning rate x 0.1 after 40 epochs.

The rates of the backbone, of sampling offsets and of reference points are a tenth. Published on 8 V100 GPUs with 32
images per iteration. All parameters have weight decay.
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.datasets.coco_detection import *
    from ..._base_.models.deformable_detr import *
    from ..._base_.schedules.adamw import *
    from ..._base_.schedules.step_epochs import *

optim_wrapper["optimizer"].update(lr=2e-4, weight_decay=1e-4)
optim_wrapper["paramwise_cfg"].update(
    no_decay_norm_bias=False, lr_mult={"backbone": 0.1, "*.sampling_offsets": 0.1, "*.reference": 0.1}
)
optim_wrapper.update(clip_grad=dict(max_norm=0.1, norm_type=2))
train_dataloader.update(batch_size=4, dataset=train_set)
val_dataloader.update(dataset=val_set)
auto_scale_lr.update(base_batch_size=32)
