"""timesNet with EfficientNet-Lite0 as encoder and decoder, for two CPU cores: batch size 8, 400 iterations.

Configs add the task, the dataset and the learning rate.
"""

from mmengine.config import read_base

with read_base():
    from .timesnet import *

weights = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
model["network"].update(pyramid_width=32)
model["network"]["encoder"].update(name="tf_efficientnet_lite0", pretrained=weights)
model["network"]["decoder"].update(name="tf_efficientnet_lite0", pretrained=weights)
train_dataloader.update(batch_size=8, num_workers=2)

optim_wrapper["paramwise_cfg"]["lr_mult"].update({"network.encoder": 0.5, "network.decoder": 0.5})
train_cfg.update(max_iters=400, val_interval=100)
default_hooks["checkpoint"].update(interval=200)
default_hooks["logger"].update(interval=20)
