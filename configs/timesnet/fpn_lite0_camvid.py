"""FPN baseline for timesnet_lite0_lite0_camvid.py: the same encoder, data and number of iterations.

Command:  python tools/train.py configs/timesnet/fpn_lite0_camvid.py
Hardware: 2 CPU cores, 400 iterations
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA is the data folder
Result:   not run to the end; 150 steps at 96x128 (benchmarks/timesnet_decoder.py, three seeds) gave
          mIoU 46.3 +- 0.9
"""

from mmengine.config import read_base

from vislab.models.fpn import FPNNetwork
from vislab.models.encoders.timm_encoder import TimmEncoder

with read_base():
    from .timesnet_lite0_lite0_camvid import *

model["network"] = dict(
    type=FPNNetwork,
    encoder=dict(type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=weights),
)
# chosen by benchmarks/timesnet_decoder.py on held-out training images, as that of timesNet
optim_wrapper["optimizer"].update(lr=3e-3)
# assigned, since `update` would keep the entries of timesNet
optim_wrapper["paramwise_cfg"]["lr_mult"] = {
    "network.encoder": 0.5,
    "network.lateral": 5.0,
    "network.smooth": 5.0,
    "network.output": 5.0,
}
