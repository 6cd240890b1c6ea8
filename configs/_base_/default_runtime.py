"""Defaults of all runs: logging, checkpoints, processes, seed."""

from mmengine.hooks import LoggerHook
from mmengine.runner import LogProcessor
from mmengine.visualization import LocalVisBackend

from vislab.engine.hooks import CheckpointHook, VisualizationHook
from vislab.visualization import Visualizer

default_scope = "vislab"

default_hooks = dict(
    logger=dict(type=LoggerHook, interval=50),
    checkpoint=dict(type=CheckpointHook, interval=1, max_keep_ckpts=2),
    visualization=dict(type=VisualizationHook, number=4),
)

log_processor = dict(type=LogProcessor, window_size=50, by_epoch=True)
log_level = "INFO"

# for TensorBoard, add dict(type=TensorboardVisBackend) from mmengine.visualization
visualizer = dict(type=Visualizer, vis_backends=[dict(type=LocalVisBackend)])

env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
randomness = dict(seed=0)
