"""Visualization of samples: drawing functions (draw.py) and a visualizer for DataSample."""

from vislab.visualization.visualizer import Visualizer

__all__ = ["Visualizer"]
