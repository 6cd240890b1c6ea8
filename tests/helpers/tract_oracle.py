"""Reference implementation of TrAct with a full unfold and an explicit solve."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.layers.convolution import PatchConv2d


def rows(x: Tensor, layer: nn.Module) -> Tensor:
    """Return the rows that the layer multiplies, (N, n), for groups = 1."""
    if isinstance(layer, nn.Linear | PatchConv2d):
        return x.reshape(-1, x.shape[-1])
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    columns = F.unfold(x, layer.kernel_size, dilation=layer.dilation, stride=layer.stride)  # (B, n, L)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


def tract_gradient(a: Tensor, g: Tensor, lam: float) -> Tensor:
    """g^T a (a^T a / N + lam I)^-1 for a (N, n) and g (N, m)."""
    matrix = a.T @ a / len(a) + lam * torch.eye(a.shape[1], dtype=a.dtype)
    return torch.linalg.solve(matrix, (g.T @ a).T).T


def output_rows(g: Tensor, layer: nn.Module) -> Tensor:
    """The gradient of a layer's output as (N, m)."""
    return (
        g.reshape(-1, g.shape[-1])
        if isinstance(layer, nn.Linear | PatchConv2d)
        else g.movedim(1, -1).reshape(-1, g.shape[1])
    )


def expected(layer: nn.Module, x: Tensor, g: Tensor, lam: float = 0.1) -> Tensor:
    """The TrAct gradient in the weight's shape; grouped convolutions one group at a time."""
    groups = getattr(layer, "groups", 1)
    parts = []
    for part_x, part_g in zip(x.chunk(groups, 1) if groups > 1 else [x], g.chunk(groups, 1) if groups > 1 else [g],
                              strict=True):  # fmt: skip
        parts.append(tract_gradient(rows(part_x, layer), output_rows(part_g, layer), lam))
    return torch.cat(parts).reshape(layer.weight.shape)


def plain_gradients(layer: nn.Module, x: Tensor, g: Tensor) -> dict[str, Tensor]:
    """Gradients of sum(g * layer(x)) by name, and that of the input as "input"; the layer's .grad are left alone."""
    x = x.clone().requires_grad_()
    names = [name for name, _ in layer.named_parameters()]
    values = torch.autograd.grad((layer(x) * g).sum(), [*layer.parameters(), x])
    return dict(zip([*names, "input"], values, strict=True))
