"""timesNet with EfficientNet-Lite0 as encoder and decoder, pre-trained on ImageNet: depth of a kitchen at 240x320.

Command:  python tools/train.py configs/timesnet/timesnet_lite0_lite0_rgbd_kitchen.py
Data:     python tools/prepare_data.py weights kitchen; VISLAB_DATA is the data folder,
          or --cfg-options data_root=/path/to/rgbd_kitchen weights=/path/to/lite0.safetensors
Hardware: 2 CPU cores, 400 iterations
Result:   not run to the end; 150 steps at 96x128 (benchmarks/timesnet_decoder.py, three seeds) gave
          AbsRel .221 +- .013, RMSE .373 +- .027 m, delta1 .618 +- .032
"""

from mmengine.config import read_base

from vislab.models.dense import DepthEstimator
from vislab.models.dense_inference import DenseInference

with read_base():
    from .._base_.datasets.rgbd_kitchen import *
    from ._base_.lite0 import *

model.update(type=DepthEstimator, max_depth=max_depth, inference=dict(type=DenseInference, flip=True))
train_dataloader.update(dataset=train_set)
val_dataloader.update(dataset=val_set)
# chosen by benchmarks/timesnet_decoder.py on held-out training images, as that of the FPN baseline
optim_wrapper["optimizer"].update(lr=3e-3)
default_hooks["checkpoint"].update(save_best="abs_rel", rule="less")
