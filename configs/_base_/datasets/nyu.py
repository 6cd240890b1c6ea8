"""NYU Depth v2: 24,231 training pairs, 654 test pairs, full 480x640 frames, Eigen crop, 1 mm to 10 m."""

from vislab.datasets.depth_lists import NYUDepth
from vislab.datasets.transforms import (
    Albu,
    PhotoMetricDistortion,
    LoadDepth,
    LoadImage,
    NYUBorder,
    PackInputs,
    RandomFlip,
)
from vislab.evaluation.depth import DepthMetric

data_root = "data/nyu"
max_depth = 10.0
scale = 0.001

train_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadDepth, scale=scale),
    dict(type=NYUBorder, mode="mask"),
    dict(type=Albu, transforms=[dict(name="Rotate", limit=2.5, p=0.5)]),
    dict(type=RandomFlip, prob=0.5),
    dict(
        type=PhotoMetricDistortion,
        brightness_delta=24,
        contrast_range=(0.75, 1.25),
        saturation_range=(0.9, 1.1),
        hue_delta=9,
    ),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadDepth, scale=scale),
    dict(type=PackInputs),
]
train_set = dict(type=NYUDepth, data_root=data_root, ann_file="nyu_train.txt", pipeline=train_pipeline)
val_set = dict(
    type=NYUDepth,
    data_root=data_root,
    ann_file="nyu_test.txt",
    data_prefix=dict(img="official_splits/test", depth="official_splits/test"),
    pipeline=test_pipeline,
    test_mode=True,
)
val_evaluator = dict(type=DepthMetric, max_depth=max_depth, crop="nyu_eigen")
