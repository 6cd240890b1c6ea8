"""Metrics: one file a task, states of all processes merged by mmengine."""

from vislab.evaluation import classification, video

__all__ = ["classification", "video"]
