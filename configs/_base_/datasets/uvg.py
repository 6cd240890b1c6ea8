"""One UVG video: 1080p frames as images in a folder (or a video file), cropped to 960x1920."""

from mmengine.config import read_base

from vislab.datasets.video_frames import VideoFrames

with read_base():
    from .video_frames import *

source = "data/uvg/beauty"
train_set = dict(type=VideoFrames, source=source, crop=(960, 1920), pipeline=pipeline)
val_set = dict(train_set, test_mode=True)
