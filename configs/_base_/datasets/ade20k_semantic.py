"""ADE20K, 150 classes: crops of 512x512 from images with a short side of 256 to 1024, whole images in testing."""

from vislab.datasets.semantic import ADE20K
from vislab.datasets.transforms import (
    PhotoMetricDistortion,
    LoadImage,
    LoadSemSeg,
    PackInputs,
    Pad,
    RandomCrop,
    RandomFlip,
    ResizeShortestEdge,
)
from vislab.evaluation.semantic import SemSegMetric

data_root = "data/ADEChallengeData2016"
size = (512, 512)  # of crops; images are resized to a short side of size[0] and a long side of at most four times that

train_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadSemSeg),
    dict(type=ResizeShortestEdge, short_edge_length=size[0], max_size=4 * size[0], ratio_range=(0.5, 2.0)),
    dict(type=RandomCrop, size=size, cat_max_ratio=0.75),
    dict(type=Pad, size=size),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PhotoMetricDistortion),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=ResizeShortestEdge, short_edge_length=size[0], max_size=4 * size[0]),
    dict(type=LoadSemSeg),
    dict(type=PackInputs),
]
train_set = dict(type=ADE20K, data_root=data_root, split="training", pipeline=train_pipeline)
val_set = dict(type=ADE20K, data_root=data_root, split="validation", pipeline=test_pipeline, test_mode=True)
val_evaluator = dict(type=SemSegMetric)
