"""Swin-L x ConvNeXt-B on KITTI, Eigen's split.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnext_b_kitti.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 4 images each, 80,000 iterations
Expected: not run here; published delta1 .978, AbsRel .048, RMSlog .075 (Ning et al. 2025, arXiv 2503.07637, table 3).
"""

from mmengine.config import read_base

from vislab.models.dense import DepthEstimator
from vislab.models.dense_inference import DenseInference
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.timesnet import TimesNet

with read_base():
    from ._base_.kitti import *

model = dict(
    type=DepthEstimator,
    max_depth=max_depth,
    network=dict(
        type=TimesNet,
        encoder=dict(
            type=TimmEncoder,
            name="swin_large_patch4_window12_384.ms_in22k",
            pretrained=True,
            out_indices=(-1,),
            img_size=(352, 1216),
            drop_path_rate=0.5,
        ),
        decoder=dict(
            type=TimmEncoder,
            name="convnext_base.fb_in22k",
            pretrained=True,
            drop_path_rate=0.2,
        ),
    ),
    inference=dict(type=DenseInference, flip=True),
)
