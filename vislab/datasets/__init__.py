"""Datasets, their samplers, and the transforms that turn a record into a sample."""

from vislab.datasets import base, coco, image_folder, samplers, scenes, transforms, video_frames

__all__ = ["base", "coco", "image_folder", "samplers", "scenes", "transforms", "video_frames"]
