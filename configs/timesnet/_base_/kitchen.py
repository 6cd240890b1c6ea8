"""The RGB-D kitchen: 200 Kinect frames in time order, the first 160 for training, the last 40 for validation."""

from mmengine.config import read_base

from vislab.datasets.rgbd import RGBDFolder
from vislab.datasets.transforms import PhotoMetricDistortion, LoadDepth, LoadImage, PackInputs, RandomFlip, Resize
from vislab.evaluation.depth import DepthMetric

with read_base():
    from .schedule import *

data_root = "$VISLAB_DATA/rgbd_kitchen"
size = (240, 320)  # of the network's input; labels of validation keep 480x640
scale = 0.001
unknown = (0, 65535)
split = 160  # frames before it are for training, the others for validation

train_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=LoadDepth, scale=scale, invalid=unknown),
    dict(type=Resize, size=size),
    dict(type=RandomFlip, prob=0.5),
    dict(type=PhotoMetricDistortion),
    dict(type=PackInputs),
]
test_pipeline = [
    dict(type=LoadImage, min_size=32),
    dict(type=Resize, size=size),
    dict(type=LoadDepth, scale=scale, invalid=unknown),
    dict(type=PackInputs),
]
train_dataloader.update(
    dataset=dict(type=RGBDFolder, data_root=data_root, frames=(0, split), pipeline=train_pipeline),
)
test_set = dict(type=RGBDFolder, data_root=data_root, frames=(split, None), pipeline=test_pipeline, test_mode=True)
val_dataloader.update(dataset=test_set)
test_dataloader.update(dataset=test_set)

max_depth = 5.0
val_evaluator = dict(type=DepthMetric, max_depth=max_depth, crop="none")
test_evaluator = dict(type=DepthMetric, max_depth=max_depth, crop="none")

# short runs; a leaf gives the learning rate and `lr_mult`
train_cfg.update(max_iters=400, val_interval=100)
default_hooks["checkpoint"].update(interval=200, save_best="abs_rel", rule="less")
default_hooks["logger"].update(interval=20)
