"""Visualization of samples: drawing functions (draw.py), a visualizer for DataSample, and trackers of experiments."""

from vislab.visualization.trackers import MLflowBackend, WandbBackend
from vislab.visualization.visualizer import Visualizer

__all__ = ["MLflowBackend", "Visualizer", "WandbBackend"]
