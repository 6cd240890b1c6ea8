"""Synthetic scenes of 128x128 with panoptic labels, 3 thing and 2 stuff classes. Needs no files."""

from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import LoadImage, PackInputs, PanopticToInstances, PanopticToSemSeg, RandomFlip
from vislab.evaluation.panoptic import PanopticMetric
from vislab.evaluation.semantic import SemSegMetric

size = 128

train_pipeline = [
    dict(type=LoadImage),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PanopticToInstances),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=PanopticToSemSeg),
    dict(type=PackInputs),
]
scenes = dict(type=Scenes, size=size, num_objects=(1, 10))
train_set = dict(scenes, length=4000, seed=1, pipeline=train_pipeline)
val_set = dict(scenes, length=200, seed=2, pipeline=test_pipeline, test_mode=True)
val_evaluator = [dict(type=PanopticMetric), dict(type=SemSegMetric)]
