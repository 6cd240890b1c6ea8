"""Metrics: one file a task, states of all processes merged by mmengine."""

from vislab.evaluation import classification, depth, semantic, video

__all__ = ["classification", "depth", "semantic", "video"]
