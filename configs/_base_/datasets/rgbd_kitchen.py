"""RGB-D kitchen: 200 Kinect frames in time order, the first 160 for training, the last 40 for validation; to 5 m."""

from vislab.datasets.rgbd import RGBDFolder
from vislab.datasets.transforms import PhotoMetricDistortion, LoadDepth, LoadImage, PackInputs, RandomFlip, Resize
from vislab.evaluation.depth import DepthMetric

data_root = "$VISLAB_DATA/rgbd_kitchen"
size = (240, 320)  # of the network's input; validation labels keep 480x640
max_depth = 5.0
scale = 0.001
unknown = (0, 65535)
split = 160  # frames before it are the training set, the others the validation set

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
train_set = dict(type=RGBDFolder, data_root=data_root, frames=(0, split), pipeline=train_pipeline)
val_set = dict(type=RGBDFolder, data_root=data_root, frames=(split, None), pipeline=test_pipeline, test_mode=True)
val_evaluator = dict(type=DepthMetric, max_depth=max_depth, crop="none")
