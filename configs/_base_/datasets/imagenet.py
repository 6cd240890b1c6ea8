"""ImageNet-1k in class folders (data/README.md): random resized crops and flips in training, a center crop of 224 in
testing."""

from vislab.datasets.imagenet import ImageNet
from vislab.datasets.transforms import (
    CenterCrop,
    LoadImage,
    PackInputs,
    RandomFlip,
    RandomResizedCrop,
    ResizeShortestEdge,
)
from vislab.evaluation.classification import Accuracy
from vislab.models.preprocessor import ImagePreprocessor

data_root = "data/imagenet"
size = 224

train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomResizedCrop, size=size),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=ResizeShortestEdge, short_edge_length=8 * size // 7),
    dict(type=CenterCrop, size=size),
    dict(type=PackInputs),
]
data_preprocessor = dict(type=ImagePreprocessor, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
train_set = dict(type=ImageNet, data_root=data_root, split="train", pipeline=train_pipeline)
val_set = dict(type=ImageNet, data_root=data_root, split="val", pipeline=test_pipeline, test_mode=True)
val_evaluator = dict(type=Accuracy, topk=(1, 5))
