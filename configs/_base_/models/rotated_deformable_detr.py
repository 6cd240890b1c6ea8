"""Rotated two-stage Deformable DETR with a ResNet-50 for 15 classes: ARS-DETR, the detector of MutDet.

Denoising queries, look forward twice, and angles as 180 classes. `pretrained=False` builds without a network; the
published figures need ImageNet weights (`model.backbone.pretrained=True`). As published, stem and first stage are
frozen and batch norms keep their statistics. The published code mixes two box formats in the L1 cost:
`L1Cost(mixed_formats=True)`.
"""

from vislab.models.deformable_detr import DeformableDETR
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.preprocessor import ImagePreprocessor

model = dict(
    type=DeformableDETR,
    backbone=dict(
        type=TimmEncoder,
        name="resnet50.tv_in1k",
        pretrained=False,
        out_indices=(2, 3, 4),
        frozen_stages=2,
        norm_eval=True,
    ),
    num_classes=15,
    num_queries=300,
    dim=256,
    num_levels=4,
    box_refine=True,
    two_stage=True,
    learned_content=True,
    rotated=True,
    encoder=dict(num_layers=6, num_heads=8, num_points=4, ffn_dim=1024, dropout=0.1),
    decoder=dict(
        num_layers=6,
        num_heads=8,
        num_points=4,
        ffn_dim=1024,
        dropout=0.1,
        look_forward_twice=True,
        output_norm=True,
        box_position=True,
        eps=1e-3,
    ),
    denoising=dict(num_queries=100, label_noise=0.25, box_noise=0.4),
    inference=dict(max_instances=300),
    data_preprocessor=dict(
        type=ImagePreprocessor, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size_divisor=32
    ),
)
