"""Muon (Jordan et al. 2024): momentum whose update of each weight matrix is orthogonalized; Adam for everything else.

MuonOptimConstructor (muon_groups.py) -> parameter groups with `method` and `split` -> Muon.step
"""

from collections.abc import Iterable, Sequence
from math import prod, sqrt
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.adam import adam

from vislab.engine.optim.orthogonal import QUINTIC, Coefficients, orthogonalize
from vislab.errors import ConfigError
from vislab.registry import OPTIMIZERS

Adjustment = Literal["original", "match_rms_adamw", "spectral_unclamped"]
Precision = Literal["float32", "bfloat16"]


@OPTIMIZERS.register_module()
class Muon(Optimizer):
    """Muon for the groups with `method="muon"`, Adam with decoupled weight decay for those with `method="adam"`.

    Use it with `constructor=MuonOptimConstructor`, which selects the weights. A weight (O, I, ...) is one matrix
    (O, I ...). A group with `split=s` treats each weight as s matrices (O / s, I ...), of the rows r, r + s, r + 2 s:
    for a convolution before a pixel shuffle by t and s = t^2, one matrix per position of the output, which is cheaper
    and nearly as good as one large matrix.

    Args:
        params: Parameter groups with "method"; those of "muon" may have "split".
        lr: Learning rate of the Muon groups.
        momentum: Decay of the momentum buffer.
        nesterov: Orthogonalize the gradient after the momentum step instead of the buffer.
        weight_decay: Decoupled weight decay of all groups, multiplied by their learning rate.
        steps: Newton-Schulz iterations.
        coefficients: (a, b, c) of all iterations, or one triple per iteration.
        adjust_lr_fn: Factor of the rate of an M x N matrix: "original" sqrt(max(1, M / N)), "spectral_unclamped"
            sqrt(M / N), "match_rms_adamw" 0.2 sqrt(max(M, N)); as in torch.optim.Muon.
        ns_dtype: "float32" or "bfloat16" for the iterations.
        adam_lr: Learning rate of the Adam groups.
        betas: Betas of Adam.
        eps: Epsilon of Adam.
        fused: Fused implementation of Adam; None: foreach.

    Raises:
        ConfigError: A group without "method", a Muon weight without at least two dimensions, a split that does not
            divide the rows, sharded parameters, or values out of range.
    """

    sample_group = {"method": "muon"}  # with which the config check tries the optimizer

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        *,
        lr: float = 0.02,
        momentum: float = 0.95,
        nesterov: bool = True,
        weight_decay: float = 0.0,
        steps: int = 5,
        coefficients: Coefficients = QUINTIC,
        adjust_lr_fn: Adjustment = "original",
        ns_dtype: Precision = "float32",
        adam_lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        fused: bool | None = None,
    ):
        groups = [dict(group) if isinstance(group, dict) else group for group in params]
        if not all(isinstance(group, dict) and group.get("method") in ("muon", "adam") for group in groups):
            raise ConfigError(
                "Muon needs to know which parameters are matrices: set optim_wrapper.constructor to "
                'MuonOptimConstructor, or give parameter groups with method="muon" and method="adam"'
            )
        _check_values(lr=lr, adam_lr=adam_lr, momentum=momentum, steps=steps, coefficients=coefficients)
        choices = {"adjust_lr_fn": (adjust_lr_fn, get_args(Adjustment)), "ns_dtype": (ns_dtype, get_args(Precision))}
        for name, (value, known) in choices.items():
            if value not in known:
                raise ConfigError(f"Muon: {name}={value!r} is unknown; choose from {', '.join(known)}")
        for group in groups:
            if group["method"] == "adam":
                group.setdefault("lr", adam_lr)
            group.setdefault("split", 1)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "steps": steps,
            "coefficients": coefficients,
            "adjust_lr_fn": adjust_lr_fn,
            "ns_dtype": ns_dtype,
            "betas": tuple(betas),
            "eps": eps,
            "fused": fused,
        }
        super().__init__(groups, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                _check_parameter(parameter, group)

    @torch.no_grad()
    def step(self, closure=None):
        """Update all parameters that have a gradient; return the result of `closure`, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["method"] == "adam":
                self._adam(group, [p for p in group["params"] if p.grad is not None])
        self._muon([group for group in self.param_groups if group["method"] == "muon"])
        return loss

    def _adam(self, group: dict[str, Any], params: list[Tensor]) -> None:
        for p in params:
            state = self.state[p]
            if not state:
                # a step on the device is needed by the fused form, and would be read back by the other
                state["step"] = torch.zeros((), dtype=torch.float32, device=p.device if group["fused"] else "cpu")
                state["exp_avg"] = torch.zeros_like(p, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(p, memory_format=torch.preserve_format)
        beta1, beta2 = group["betas"]
        adam(
            params,
            [p.grad for p in params],
            [self.state[p]["exp_avg"] for p in params],
            [self.state[p]["exp_avg_sq"] for p in params],
            [],
            [self.state[p]["step"] for p in params],
            foreach=not group["fused"],
            fused=group["fused"],
            decoupled_weight_decay=True,
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _muon(self, groups: Sequence[dict[str, Any]]) -> None:
        """Update the groups; those with the same settings of the iteration are orthogonalized together."""
        batches: dict[tuple, list[tuple[dict, Tensor, Tensor]]] = {}
        for group in groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p]["momentum_buffer"] = torch.zeros_like(p, memory_format=torch.preserve_format)
            grads, buffers = [p.grad for p in params], [self.state[p]["momentum_buffer"] for p in params]
            torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
            updates = torch._foreach_lerp(grads, buffers, group["momentum"]) if group["nesterov"] else buffers
            key = (group["steps"], group["ns_dtype"], str(group["coefficients"]), params[0].device)
            batches.setdefault(key, []).extend((group, p, u) for p, u in zip(params, updates, strict=True))
        for (steps, dtype, _, _), batch in batches.items():
            matrices = [as_matrices(update, group["split"], memory_order(p)) for group, p, update in batch]
            orthogonal = orthogonalize(
                matrices, steps=steps, coefficients=batch[0][0]["coefficients"], dtype=getattr(torch, dtype)
            )
            for (group, p, _), matrix in zip(batch, orthogonal, strict=True):
                rate = group["lr"] * _adjustment(group["adjust_lr_fn"], *matrix.shape[-2:])
                if group["weight_decay"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(as_weight(matrix, p.shape, memory_order(p)), alpha=-rate)


def memory_order(weight: Tensor) -> list[int]:
    """Return the dimensions of a weight (O, I, ...) in the order of its memory; (0, 2, 3, 1) if channels-last."""
    return [0, *sorted(range(1, weight.ndim), key=lambda d: -weight.stride(d))]


def as_matrices(weight: Tensor, split: int, order: Sequence[int]) -> Tensor:
    """Return a weight (O, I, ...) as (split, O / split, I ...) with the columns in the given order of dimensions."""
    rows, columns = weight.shape[0], prod(weight.shape[1:])
    weight = weight.permute(*order).reshape(rows // split, split, columns)
    return weight.transpose(0, 1)  # (split, O / split, columns)


def as_weight(matrices: Tensor, shape: Sequence[int], order: Sequence[int]) -> Tensor:
    """Return matrices (split, O / split, I ...) as a weight of the given shape (O, I, ...); undoes `as_matrices`."""
    weight = matrices.transpose(0, 1).reshape([shape[d] for d in order])
    return weight.permute([order.index(d) for d in range(len(order))])  # (O, I, ...)


def _adjustment(name: str, rows: int, columns: int) -> float:
    if name == "match_rms_adamw":
        return 0.2 * sqrt(max(rows, columns))
    ratio = rows / columns
    return sqrt(max(1.0, ratio) if name == "original" else ratio)


def _check_values(*, lr: float, adam_lr: float, momentum: float, steps: int, coefficients: Coefficients) -> None:
    for name, value in (("lr", lr), ("adam_lr", adam_lr)):
        if not value >= 0:
            raise ConfigError(f"Muon: {name}={value!r} should be a number of at least 0")
    if not 0 <= momentum < 1:
        raise ConfigError(f"Muon: momentum={momentum!r} is not in [0, 1)")
    if not isinstance(steps, int) or steps < 1:
        raise ConfigError(f"Muon: steps={steps!r} should be an integer of at least 1")
    triples = [coefficients] if isinstance(coefficients[0], (int, float)) else list(coefficients)
    if any(len(triple) != 3 for triple in triples) or (len(triples) > 1 and len(triples) != steps):
        raise ConfigError(
            f"Muon: coefficients={coefficients!r} should be three numbers, or three for each of {steps} steps"
        )


def _check_parameter(parameter: Tensor, group: dict[str, Any]) -> None:
    if group["method"] == "adam":
        return
    if isinstance(parameter, DTensor):
        raise ConfigError(
            "Muon orthogonalizes whole weights and does not support sharded parameters (FullyShard): use Adam or SGD"
        )
    if parameter.ndim < 2:
        raise ConfigError(
            f"Muon: a parameter of the shape {tuple(parameter.shape)} is no matrix; use method='adam' for it"
        )
    if group["split"] < 1 or parameter.shape[0] % group["split"]:
        raise ConfigError(
            f"Muon: split={group['split']} does not divide the {parameter.shape[0]} rows of a weight "
            f"{tuple(parameter.shape)}"
        )
