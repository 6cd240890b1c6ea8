"""Swin-L x ConvNeXtV2-T on NYU Depth v2, the paper's model without extra depth data.

Command:  python tools/train.py configs/timesnet/timesnet_swin_l_convnextv2_t_nyu.py
          (8 GPUs: tools/dist_train.sh CONFIG 8)
Hardware: 8 GPUs, 4 images each, 80,000 iterations
Expected: not run here; published delta1 .936, AbsRel .086, log10 .037 (Ning et al. 2025, arXiv 2503.07637, table 2).
          The paper's schedule is not published. This one is ours (AdamW, decay 0.05, cosine), not that of
          the same authors' LR2Depth (Adam at 1e-5 for all parts, no decay, linear to 0).
"""

from mmengine.config import read_base

from vislab.models.dense import DepthEstimator
from vislab.models.dense_inference import DenseInference
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.systems.timesnet import TimesNet

with read_base():
    from ._base_.nyu import *

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
            img_size=(480, 640),
            drop_path_rate=0.5,
        ),
        decoder=dict(
            type=TimmEncoder,
            name="convnextv2_tiny.fcmae_ft_in22k_in1k",
            pretrained=True,
            drop_path_rate=0.2,
        ),
    ),
    inference=dict(type=DenseInference, flip=True),
)
