"""Metrics: one file a task, states of all processes merged by mmengine."""

from vislab.evaluation import classification, coco, depth, panoptic, semantic, video

__all__ = ["classification", "coco", "depth", "panoptic", "semantic", "video"]
