"""Datasets, samplers and data transforms."""

from vislab.datasets import (
    base,
    cityscapes_panoptic,
    coco,
    corner_text,
    depth_lists,
    dior,
    hit_uav,
    image_folder,
    imagenet,
    rgbd,
    samplers,
    scenes,
    semantic,
    torchvision_sets,
    transforms,
    video_frames,
)

__all__ = [
    "base",
    "cityscapes_panoptic",
    "coco",
    "corner_text",
    "depth_lists",
    "dior",
    "hit_uav",
    "image_folder",
    "imagenet",
    "rgbd",
    "samplers",
    "scenes",
    "semantic",
    "torchvision_sets",
    "transforms",
    "video_frames",
]
