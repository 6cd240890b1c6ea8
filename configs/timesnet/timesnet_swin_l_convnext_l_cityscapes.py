"""Swin-L x ConvNeXt-L on Cityscapes.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnext_l_cityscapes.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 2 images each, 80,000 iterations
Expected: not run here; published 83.63 mIoU single-scale, 84.32 multi-scale (arXiv 2503.07637, table 8).
"""

from mmengine.config import read_base

from vislab.models.dense import SemanticSegmentor
from vislab.models.dense_inference import DenseInference
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.timesnet import TimesNet

with read_base():
    from ._base_.cityscapes import *

model = dict(
    type=SemanticSegmentor,
    num_classes=19,
    network=dict(
        type=TimesNet,
        encoder=dict(
            type=TimmEncoder,
            name="swin_large_patch4_window12_384.ms_in22k",
            pretrained=True,
            out_indices=(-1,),
            img_size=size,
            drop_path_rate=0.5,
        ),
        decoder=dict(
            type=TimmEncoder,
            name="convnext_large.fb_in22k",
            pretrained=True,
            drop_path_rate=0.4,
        ),
        head="bilinear",
    ),
    inference=dict(type=DenseInference),
)
