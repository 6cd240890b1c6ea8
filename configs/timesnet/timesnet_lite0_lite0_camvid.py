"""EfficientNet-Lite0 x EfficientNet-Lite0, 11 classes of road scenes at 240x320, ImageNet weights on both sides.

Command:  python tools/train.py configs/timesnet/timesnet_lite0_lite0_camvid.py
Data:     python tools/prepare_data.py weights camvid; VISLAB_DATA names the folder,
          or --cfg-options data_root=/path/to/camvid weights=/path/to/lite0.safetensors
Hardware: 2 CPU cores, 400 iterations
Result:   not run to the end; a short form (benchmarks/timesnet_decoder.py: 150 steps at 96x128, three seeds) gave
          mIoU 41.8 +- 1.7
"""

from mmengine.config import read_base

from vislab.models.dense import SemanticSegmentor
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.timesnet import TimesNet

with read_base():
    from ._base_.camvid import *

weights = "$VISLAB_DATA/weights/tf_efficientnet_lite0_timm.safetensors"
model = dict(
    type=SemanticSegmentor,
    num_classes=11,
    network=dict(
        type=TimesNet,
        encoder=dict(type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=weights, out_indices=(-1,)),
        decoder=dict(type=TimmEncoder, name="tf_efficientnet_lite0", pretrained=weights),
        pyramid_width=32,
        head="bilinear",
    ),
)
# chosen by benchmarks/timesnet_decoder.py on held-out training images, in the same way as its control's
optim_wrapper["optimizer"].update(lr=1e-3)
optim_wrapper["paramwise_cfg"]["lr_mult"].update({"network.encoder": 0.5, "network.decoder": 0.5})
