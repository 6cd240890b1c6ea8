"""Metrics: one file a task, states of all processes merged by mmengine."""

from vislab.evaluation import video

__all__ = ["video"]
