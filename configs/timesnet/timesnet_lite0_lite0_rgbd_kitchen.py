"""EfficientNet-Lite0 x EfficientNet-Lite0, depth of one kitchen at 240x320, with real ImageNet weights on both sides.

Command:  python tools/train.py configs/timesnet/timesnet_lite0_lite0_rgbd_kitchen.py
Data:     python tools/prepare_data.py weights kitchen; VISLAB_DATA names the folder,
          or --cfg-options data_root=/path/to/rgbd_kitchen weights=/path/to/lite0.safetensors
Hardware: 2 CPU cores, 400 iterations
Result:   not run to the end; a short form (benchmarks/timesnet_decoder.py: 150 steps at 96x128, three seeds) gave
          AbsRel .221 +- .013, RMSE .373 +- .027 m, delta1 .618 +- .032
"""

from mmengine.config import read_base

from vislab.models.dense import DepthEstimator
from vislab.models.dense_inference import DenseInference
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.timesnet import TimesNet

with read_base():
    from ._base_.kitchen import *

weights = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
model = dict(
    type=DepthEstimator,
    max_depth=max_depth,
    network=dict(
        type=TimesNet,
        encoder=dict(type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=weights, out_indices=(-1,)),
        decoder=dict(type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=weights),
        pyramid_width=32,
    ),
    inference=dict(type=DenseInference, flip=True),
)
# chosen by benchmarks/timesnet_decoder.py on held-out training images, in the same way as its control's
optim_wrapper["optimizer"].update(lr=3e-3)
optim_wrapper["paramwise_cfg"]["lr_mult"].update({"network.encoder": 0.5, "network.decoder": 0.5})
