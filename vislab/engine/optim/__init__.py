"""Optimization: mixed precision, layer-wise learning rates, schedulers, memory layout of the optimizer state."""

from vislab.engine.optim import amp, grad_norm, layer_decay, schedulers

__all__ = ["amp", "grad_norm", "layer_decay", "schedulers"]
