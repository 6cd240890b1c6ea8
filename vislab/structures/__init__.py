"""What travels between stations: DataSample, boxes (boxes.py) and rotated boxes (rotated_boxes.py)."""

from vislab.structures.data_sample import DataSample

__all__ = ["DataSample"]
