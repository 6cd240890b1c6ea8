"""Runs counted in iterations; polynomial decay with power 0.9 over the whole run."""

from mmengine.config import read_base
from mmengine.optim import PolyLR

with read_base():
    from .iterations import *

param_scheduler = [dict(type=PolyLR, power=0.9, eta_min=0.0, by_epoch=False)]
