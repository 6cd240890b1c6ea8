"""Optimization: mixed precision, layer-wise learning rates, Muon, schedulers, layout of the optimizer state."""

from vislab.engine.optim import amp, grad_norm, layer_decay, muon, muon_groups, schedulers

__all__ = ["amp", "grad_norm", "layer_decay", "muon", "muon_groups", "schedulers"]
