"""What happens beside training: checkpoints, random states, the guard against NaN, progress, curves, pictures."""

from vislab.engine.hooks.checkpoint import CheckpointHook
from vislab.engine.hooks.curves import CurveHook
from vislab.engine.hooks.nan_guard import NanGuardHook
from vislab.engine.hooks.progress import ProgressHook
from vislab.engine.hooks.random_state import RandomStateHook
from vislab.engine.hooks.visualization import VisualizationHook

__all__ = ["CheckpointHook", "CurveHook", "NanGuardHook", "ProgressHook", "RandomStateHook", "VisualizationHook"]
