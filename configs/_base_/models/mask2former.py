"""Mask2Former with a ResNet-50 for 80 thing and 53 stuff classes (COCO panoptic).

`pretrained=False` builds without a network; the published figures need ImageNet weights
(`model.backbone.pretrained=True`). As published, the batch norms of the ResNet are frozen.
"""

from vislab.models.mask2former import Mask2Former
from vislab.models.preprocessor import ImagePreprocessor
from vislab.models.encoders.timm_encoder import TimmEncoder

model = dict(
    type=Mask2Former,
    backbone=dict(type=TimmEncoder, name="resnet50.tv_in1k", pretrained=False, frozen_norms=True),
    num_classes=133,
    thing_classes=80,
    inference=dict(tasks=("panoptic", "instance", "semantic"), rle_masks=True),
    data_preprocessor=dict(
        type=ImagePreprocessor, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), size_divisor=32
    ),
)
