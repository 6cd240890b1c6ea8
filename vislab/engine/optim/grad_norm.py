"""Clip gradients without device synchronization: the norm is logged as a tensor and read with the other values.

Patches mmengine's OptimWrapper, since configs name that class.
"""

from mmengine.optim import OptimWrapper


def _clip_grad(self: OptimWrapper) -> None:
    params = [p for group in self.optimizer.param_groups for p in group["params"]]
    params = [p for p in params if p.requires_grad and p.grad is not None]
    if not params:
        return
    norm = self.clip_func(params, **self.clip_grad_kwargs)
    if norm is None:  # clip_grad_value_ returns nothing
        return
    if hasattr(norm, "full_tensor"):  # of sharded gradients
        norm = norm.full_tensor()
    self.message_hub.update_scalar(f"train/{self.grad_name}", norm)


OptimWrapper._clip_grad = _clip_grad
