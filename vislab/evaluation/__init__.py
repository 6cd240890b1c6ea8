"""Metrics, one file per task; results of all processes are gathered by mmengine."""

from vislab.evaluation import classification, coco, depth, panoptic, rotated_map, semantic, video

__all__ = ["classification", "coco", "depth", "panoptic", "rotated_map", "semantic", "video"]
