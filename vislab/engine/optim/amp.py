"""Mixed precision on all devices: bfloat16 without loss scaling on the CPU, mmengine's wrapper on accelerators."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from mmengine.optim import AmpOptimWrapper as MMEngineAmpOptimWrapper
from mmengine.optim import OptimWrapper
from torch import nn
from torch.optim import Optimizer

from vislab.errors import ConfigError
from vislab.registry import OPTIM_WRAPPERS


def autocast_dtype(device_type: str, dtype: str | torch.dtype | None) -> torch.dtype:
    """Return the autocast dtype: the given one, else float16 on an accelerator; always bfloat16 on the CPU.

    Raises:
        ConfigError: The name is not a torch float type of 16 or 32 bits.
    """
    if isinstance(dtype, str):
        if dtype not in ("float16", "bfloat16", "float32"):
            raise ConfigError(f"AMP dtype is {dtype!r}; expected 'float16', 'bfloat16' or 'float32'")
        dtype = getattr(torch, dtype)
    if device_type == "cpu":
        return torch.bfloat16
    return dtype or torch.float16


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(MMEngineAmpOptimWrapper):
    """Runs the forward pass under autocast on the device of the parameters.

    Args:
        optimizer: Optimizer of the parameters, which stay float32.
        dtype: "float16" or "bfloat16". Default: float16 on accelerators. The CPU always uses bfloat16.
        loss_scale: "dynamic", a number, or arguments of GradScaler; unused with bfloat16, which does not underflow.
        accumulative_counts: Number of batches whose gradients are accumulated per update.
        clip_grad: Arguments of `torch.nn.utils.clip_grad_norm_`, e.g. `dict(max_norm=1.0)`.
    """

    def __init__(
        self,
        *,
        optimizer: Optimizer,
        dtype: str | torch.dtype | None = None,
        loss_scale: Literal["dynamic"] | float | dict = "dynamic",
        accumulative_counts: int = 1,
        clip_grad: dict | None = None,
    ) -> None:
        self.device_type = next(p.device.type for group in optimizer.param_groups for p in group["params"])
        self.cast_dtype = autocast_dtype(self.device_type, dtype)
        self.scaled = self.device_type != "cpu" and self.cast_dtype == torch.float16
        common = {"optimizer": optimizer, "accumulative_counts": accumulative_counts, "clip_grad": clip_grad}
        if self.scaled:
            super().__init__(loss_scale=loss_scale, dtype=self.cast_dtype, **common)
        else:
            OptimWrapper.__init__(self, **common)

    def backward(self, loss: torch.Tensor, **kwargs) -> None:
        if self.scaled:
            super().backward(loss, **kwargs)
        else:
            OptimWrapper.backward(self, loss, **kwargs)

    def step(self, **kwargs) -> None:
        if self.scaled:
            super().step(**kwargs)
        else:
            OptimWrapper.step(self, **kwargs)

    def state_dict(self) -> dict:
        return super().state_dict() if self.scaled else OptimWrapper.state_dict(self)

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state saved on any device; the loss scale is ignored if it is not used."""
        state_dict = dict(state_dict)
        if not self.scaled:
            state_dict.pop("loss_scaler", None)
            OptimWrapper.load_state_dict(self, state_dict)
        else:
            super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with OptimWrapper.optim_context(self, model), torch.autocast(self.device_type, dtype=self.cast_dtype):
            yield
