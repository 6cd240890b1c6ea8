"""Runs counted in iterations; linear warm-up over 2% of the run, then a cosine down to zero."""

from mmengine.config import read_base

from vislab.engine.optim.schedulers import WarmupCosineLR

with read_base():
    from .iterations import *

param_scheduler = [dict(type=WarmupCosineLR, warmup=0.02, by_epoch=False)]
