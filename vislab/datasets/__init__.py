"""Datasets, their samplers, and the transforms that turn a record into a sample."""

from vislab.datasets import base, samplers

__all__ = ["base", "samplers"]
