"""Optimization: mixed precision, learning rates by depth, schedules, memory layout of the optimizer's state."""

from vislab.engine.optim import amp, grad_norm, layer_decay, schedulers

__all__ = ["amp", "grad_norm", "layer_decay", "schedulers"]
