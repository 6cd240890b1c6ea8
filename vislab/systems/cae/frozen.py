"""A network that is used but not trained: without parameters of its own, and not saved in checkpoints."""

from collections.abc import Callable

from torch import Tensor, nn


class Frozen(nn.Module):
    """Holds a network outside the module tree: no parameters, no state dict, always in eval mode.

    It moves to the device of the model with it. Its weights come from a file named in the config, also on resuming.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.__dict__["network"] = network.eval().requires_grad_(False)  # not registered as a submodule

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Frozen":
        self.network._apply(fn)
        return super()._apply(fn, recurse)

    def forward(self, *args, **kwargs):
        return self.network(*args, **kwargs)
