"""Weights from elsewhere: files of pre-trained parts, and other projects' checkpoints turned into this project's."""

from vislab.zoo.foreign import ForeignReport, load_foreign

__all__ = ["ForeignReport", "load_foreign"]
