"""Transforms of the data pipeline: a callable each, from result dictionary to result dictionary."""

from vislab.datasets.transforms.albu import Albu
from vislab.datasets.transforms.color import PhotoMetricDistortion
from vislab.datasets.transforms.depth import KittiCrop, NYUBorder
from vislab.datasets.transforms.formatting import PackInputs, PanopticToInstances, PanopticToSemSeg
from vislab.datasets.transforms.geometric import (
    CenterCrop,
    LargeScaleJitter,
    Pad,
    RandomCrop,
    RandomFlip,
    RandomResizedCrop,
    Resize,
    ResizeShortestEdge,
)
from vislab.datasets.transforms.instances import LoadAnnotations
from vislab.datasets.transforms.loading import LoadDepth, LoadImage, LoadPanoptic, LoadSemSeg
from vislab.datasets.transforms.targets import SemSegToInstances

__all__ = [
    "Albu",
    "CenterCrop",
    "PhotoMetricDistortion",
    "KittiCrop",
    "LargeScaleJitter",
    "LoadAnnotations",
    "LoadDepth",
    "LoadImage",
    "LoadPanoptic",
    "LoadSemSeg",
    "NYUBorder",
    "PackInputs",
    "Pad",
    "PanopticToInstances",
    "PanopticToSemSeg",
    "RandomCrop",
    "RandomFlip",
    "RandomResizedCrop",
    "Resize",
    "ResizeShortestEdge",
    "SemSegToInstances",
]
