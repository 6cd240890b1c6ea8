"""FPN baseline for timesnet_lite0_lite0_rgbd_kitchen.py: the same encoder, data and number of iterations.

Unlike there, predictions for the mirrored image are not averaged in testing.

Command:  python tools/train.py configs/timesnet/fpn_lite0_rgbd_kitchen.py
Hardware: 2 CPU cores, 400 iterations
Data:     python tools/prepare_data.py weights kitchen; VISLAB_DATA is the data folder
Result:   not run to the end; 150 steps at 96x128 (benchmarks/timesnet_decoder.py, three seeds) gave
          AbsRel .248 +- .026, RMSE .401 +- .034 m, delta1 .605 +- .059
"""

from mmengine.config import read_base

from vislab.models.fpn import FPNNetwork
from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from .timesnet_lite0_lite0_rgbd_kitchen import *

model["network"] = dict(
    type=FPNNetwork,
    encoder=dict(type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=weights),
)
del model["inference"]
# chosen by benchmarks/timesnet_decoder.py on held-out training images, as that of timesNet
optim_wrapper["optimizer"].update(lr=1e-3)
# assigned, since `update` would keep the entries of timesNet
optim_wrapper["paramwise_cfg"]["lr_mult"] = {"network.encoder": 0.5}
