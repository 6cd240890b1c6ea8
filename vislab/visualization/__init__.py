"""Pictures of samples: plain drawing functions (draw.py) and the visualizer that knows DataSample."""

from vislab.visualization.visualizer import Visualizer

__all__ = ["Visualizer"]
