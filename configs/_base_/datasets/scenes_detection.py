"""Synthetic scenes of 128x128 with rotated boxes, 3 classes. Needs no files."""

from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import LoadImage, PackInputs, RandomFlip

size = 128

train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal")),
    dict(type=PackInputs),
]
test_pipeline = [dict(type=LoadImage), dict(type=PackInputs)]
scenes = dict(type=Scenes, size=size, num_objects=(1, 10))
train_set = dict(scenes, length=4000, seed=1, pipeline=train_pipeline)
val_set = dict(scenes, length=200, seed=2, pipeline=test_pipeline, test_mode=True)
