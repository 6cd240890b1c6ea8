"""Data structures shared by datasets, models, metrics and visualizers: DataSample, boxes and rotated boxes."""

from vislab.structures.data_sample import DataSample

__all__ = ["DataSample"]
