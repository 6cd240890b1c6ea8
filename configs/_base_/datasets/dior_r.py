"""DIOR-R, 20 classes with rotated boxes: training and validation images for training, test images for testing."""

from vislab.datasets.dior import DIOR
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs, RandomFlip, Resize

data_root = "data/DIOR"
size = (800, 800)

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=Resize, size=size),
    dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal")),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=Resize, size=size),
    dict(type=PackInputs),
]
train_set = dict(type=DIOR, data_root=data_root, split="trainval", filter_empty=True, pipeline=train_pipeline)
val_set = dict(type=DIOR, data_root=data_root, split="test", pipeline=test_pipeline, test_mode=True)
