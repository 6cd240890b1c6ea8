"""KITTI depth, Eigen's split: a window of 352x1216, Garg crop, 1 mm to 80 m."""

from vislab.datasets.depth_lists import KittiEigen
from vislab.datasets.transforms import (
    Albu,
    PhotoMetricDistortion,
    KittiCrop,
    LoadDepth,
    LoadImage,
    PackInputs,
    RandomFlip,
)
from vislab.evaluation.depth import DepthMetric

data_root = "data/kitti"
max_depth = 80.0
scale = 0.00390625  # 1 / 256

train_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadDepth, scale=scale),
    dict(type=KittiCrop),
    dict(type=Albu, transforms=[dict(name="Rotate", limit=1.0, p=0.5)]),
    dict(type=RandomFlip, prob=0.5),
    dict(
        type=PhotoMetricDistortion,
        brightness_delta=12,
        contrast_range=(0.9, 1.1),
        saturation_range=(0.9, 1.1),
        hue_delta=0,
    ),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadDepth, scale=scale),
    dict(type=KittiCrop),
    dict(type=PackInputs),
]
train_set = dict(type=KittiEigen, data_root=data_root, ann_file="eigen_train.txt", pipeline=train_pipeline)
val_set = dict(type=KittiEigen, data_root=data_root, ann_file="eigen_test.txt", pipeline=test_pipeline, test_mode=True)
val_evaluator = dict(type=DepthMetric, max_depth=max_depth, crop="garg")
