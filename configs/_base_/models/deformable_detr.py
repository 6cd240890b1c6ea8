"""Deformable DETR with a ResNet-50 for 80 classes: 4 levels, 6 encoder and 6 decoder layers, 300 queries.

`pretrained=False` builds without a network; the published figures need ImageNet weights
(`model.backbone.pretrained=True`). As published, stem and first stage are frozen, and batch norms everywhere.
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
        frozen_norms=True,
    ),
    num_classes=80,
    num_queries=300,
    dim=256,
    num_levels=4,
    encoder=dict(num_layers=6, num_heads=8, num_points=4, ffn_dim=1024, dropout=0.1),
    decoder=dict(num_layers=6, num_heads=8, num_points=4, ffn_dim=1024, dropout=0.1),
    inference=dict(max_instances=100),
    data_preprocessor=dict(type=ImagePreprocessor, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
)
