"""Optimization: mixed precision, learning rates by depth, schedules, memory layout of the optimizer's state."""

from vislab.engine.optim import amp, layer_decay, schedulers

__all__ = ["amp", "layer_decay", "schedulers"]
