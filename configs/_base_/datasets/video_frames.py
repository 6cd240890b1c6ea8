"""Pipeline and metrics of videos whose frames are kept in memory as uint8."""

from vislab.datasets.transforms import PackInputs
from vislab.evaluation.video import VideoQuality

pipeline = [dict(type=PackInputs, meta_keys=("img_path", "frame_index"))]
val_evaluator = dict(type=VideoQuality)
