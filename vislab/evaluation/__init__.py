"""Metrics, one file per task; results of all processes are gathered by mmengine."""

from vislab.evaluation import classification, coco, depth, panoptic, semantic, video

__all__ = ["classification", "coco", "depth", "panoptic", "semantic", "video"]
