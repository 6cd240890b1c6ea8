"""Activation checkpointing for cheap parts of a layer: they are recomputed in backward instead of stored."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recompute(function: Callable, *inputs: Tensor, random: bool = False) -> Tensor | tuple[Tensor, ...]:
    """Return `function(*inputs)`, storing only the inputs for backward.

    Backward recomputes the function up to its last operation that saves a tensor, without that operation: a norm
    followed by a linear layer repeats the norm, but not the matrix product. The expensive layer should therefore come
    last.

    Args:
        function: Function of tensors; it may use the parameters of modules.
        inputs: Tensors, preferably ones that are stored for backward anyway.
        random: Whether the function draws random numbers, which backward must reproduce.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():  # the compiler decides what to store
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random)
