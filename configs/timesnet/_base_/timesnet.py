"""timesNet: AdamW with a cosine schedule; learning rate x 0.1 for pre-trained parts, x 5 for the output layers.

depth.py and semantic.py add the task; configs add the dataset and the two timm models.
"""

from mmengine.config import read_base

from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.timesnet import TimesNet

with read_base():
    from ..._base_.schedules.adamw import *
    from ..._base_.schedules.cosine_iterations import *

model = dict(
    network=dict(
        type=TimesNet,
        encoder=dict(type=TimmEncoder, pretrained=True, out_indices=(-1,)),
        decoder=dict(type=TimmEncoder, pretrained=True),
    )
)
train_dataloader.update(batch_size=4)
val_dataloader.update(num_workers=2)

optim_wrapper["optimizer"].update(lr=5e-4)
optim_wrapper["paramwise_cfg"].update(
    lr_mult={
        "network.encoder": 0.1,
        "network.decoder": 0.1,
        "network.to_finest": 5.0,
        "network.reshape_out": 5.0,
    }
)
optim_wrapper.update(clip_grad=dict(max_norm=10.0))
train_cfg.update(max_iters=80000, val_interval=8000)
auto_scale_lr.update(base_batch_size=32)
default_hooks["checkpoint"].update(interval=8000)
