"""Pipeline and metrics of videos that are read frame by frame and held in memory as bytes."""

from vislab.datasets.transforms import PackInputs
from vislab.evaluation.video import VideoQuality

pipeline = [dict(type=PackInputs, meta_keys=("img_path", "frame_index"))]
val_evaluator = dict(type=VideoQuality)
