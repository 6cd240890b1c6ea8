"""Hooks: checkpoints, random states, detection of NaN, progress, curves, images of predictions, probes."""

from vislab.engine.hooks import logger  # noqa: F401  a cure for mmengine's LoggerHook
from vislab.engine.hooks.checkpoint import CheckpointHook
from vislab.engine.hooks.curves import CurveHook
from vislab.engine.hooks.early_stopping import EarlyStoppingHook
from vislab.engine.hooks.nan_guard import NanGuardHook
from vislab.engine.hooks.pending_gradients import PendingGradientsHook
from vislab.engine.hooks.probe import ProbeHook
from vislab.engine.hooks.progress import ProgressHook
from vislab.engine.hooks.random_state import RandomStateHook
from vislab.engine.hooks.visualization import VisualizationHook

__all__ = [
    "DEFAULT_HOOKS",
    "CheckpointHook",
    "CurveHook",
    "EarlyStoppingHook",
    "NanGuardHook",
    "PendingGradientsHook",
    "ProbeHook",
    "ProgressHook",
    "RandomStateHook",
    "VisualizationHook",
]

DEFAULT_HOOKS = {
    "runtime_info": {"type": "RuntimeInfoHook"},
    "random_state": {"type": "RandomStateHook"},
    "pending_gradients": {"type": "PendingGradientsHook"},
    "timer": {"type": "IterTimerHook"},
    "nan_guard": {"type": "NanGuardHook"},
    "logger": {"type": "LoggerHook"},
    "param_scheduler": {"type": "ParamSchedulerHook"},
    "checkpoint": {"type": "CheckpointHook", "interval": 1},
    "progress": {"type": "ProgressHook"},
}
