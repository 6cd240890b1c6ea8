"""DOTA-v1.0, 15 classes: tiles of 1024x1024 with an overlap of 200, made by tools/dataset_converters/dota_tiles.py."""

from vislab.datasets.corner_text import DOTA
from vislab.datasets.transforms import LoadAnnotations, LoadImage, PackInputs, RandomFlip

train_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=RandomFlip, prob=0.75, direction=("horizontal", "vertical", "diagonal")),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage),
    dict(type=LoadAnnotations, with_rbbox=True),
    dict(type=PackInputs),
]
train_set = dict(
    type=DOTA, data_root="data/DOTA_tiles/train", difficult="use", filter_empty=True, pipeline=train_pipeline
)
val_set = dict(type=DOTA, data_root="data/DOTA_tiles/val", pipeline=test_pipeline, test_mode=True)
