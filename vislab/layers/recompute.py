"""Work cheap parts of a layer out again in backward instead of keeping what they give."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recompute(function: Callable, *inputs: Tensor, random: bool = False) -> Tensor | tuple[Tensor, ...]:
    """`function(*inputs)`, of which only the inputs are kept for backward.

    Backward repeats the function as far as its last operation that keeps something, and not that operation itself: a
    norm followed by a linear layer costs a norm again, and no product. So end it with the expensive layer.

    Args:
        function: Of tensors; parameters may come from the modules it refers to.
        inputs: Best tensors that something else keeps anyway.
        random: Whether the function draws numbers, which backward must then draw again.
    """
    if not torch.is_grad_enabled() or torch.compiler.is_compiling():  # compilers choose themselves what to keep
        return function(*inputs)
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=random)
