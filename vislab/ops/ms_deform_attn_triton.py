"""Multi-scale deformable attention as Triton kernels, which keep no samples in memory.

Triton comes with torch on Linux. torch.compile and torch.export see the operators `vislab::ms_deform_attn` and
`vislab::ms_deform_attn_backward`. A program of the kernels handles a block of queries of one image and head:

    for each level and point:  four corners of the map, (queries, channels) each  ->  weighted sum in float32

The gradient of the maps is added up by atomic operations, in any order. If torch.use_deterministic_algorithms is on,
they add integers: multiples of 2^-40 of the largest possible contribution, whose sum does not depend on the order.

With TRITON_INTERPRET=1 in the environment the kernels run on the CPU, as in the tests.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor, library

_TILE = 1024  # queries x channels of a program
_PARTS = 2.0**40  # of the largest contribution; 2^22 such contributions fit into 64 bits


@triton.jit
def _corners(places, locations, weights, present, height, width):
    """Return columns, rows and fractions of the upper left corners of points, the weights, and which points move."""
    x = tl.load(locations + 2 * places, mask=present, other=0.0) * width - 0.5
    y = tl.load(locations + 2 * places + 1, mask=present, other=0.0) * height - 0.5
    weight = tl.load(weights + places, mask=present, other=0.0)
    moves_x, moves_y = (x > -1) & (x < width), (y > -1) & (y < height)
    # limits for infinite values; NaN stays NaN in the fraction
    x = tl.where(x <= -1, -1.0, tl.where(x >= width, 1.0 * width, x))
    y = tl.where(y <= -1, -1.0, tl.where(y >= height, 1.0 * height, y))
    left, top = tl.floor(x), tl.floor(y)
    return left.to(tl.int32), top.to(tl.int32), x - left, y - top, weight, moves_x, moves_y


@triton.jit
def _offset_and_mask(column, row, height, width, present, channels, M: tl.constexpr, D: tl.constexpr):
    """Return the offsets of pixels (BN, BD) in their map, and the mask of those that exist."""
    exists = present & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    offset = (row * width + column) * (M * D)
    return offset[:, None] + channels[None, :], exists[:, None] & (channels < D)[None, :]


@triton.jit
def _forward_kernel(
    value, locations, weights, out, sizes, N, S,
    M: tl.constexpr, L: tl.constexpr, P: tl.constexpr, D: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    queries = tl.program_id(0) * BN + tl.arange(0, BN)
    image, head = (tl.program_id(1) // M).to(tl.int64), tl.program_id(1) % M
    present, channels = queries < N, tl.arange(0, BD)
    rows = (image * N + queries) * M + head  # (BN,) of `out`
    maps = value + (image * S * M + head) * D
    total = tl.zeros((BN, BD), tl.float32)
    for level in tl.static_range(L):
        h, w = sizes[2 * level], sizes[2 * level + 1]
        for p in range(P):
            places = rows * (L * P) + level * P + p
            x, y, fx, fy, weight, _, _ = _corners(places, locations, weights, present, h, w)
            for corner in tl.static_range(4):
                offset, mask = _offset_and_mask(x + corner % 2, y + corner // 2, h, w, present, channels, M, D)
                pixels = tl.load(maps + offset, mask=mask, other=0.0).to(tl.float32)
                part = (fx if corner % 2 else 1 - fx) * (fy if corner // 2 else 1 - fy)
                total += (weight * part)[:, None] * pixels
        maps += h * w * M * D
    tl.store(out + rows[:, None] * D + channels[None, :], total, mask=present[:, None] & (channels < D)[None, :])


@triton.jit
def _backward_kernel(
    grad, value, locations, weights, grad_value, grad_locations, grad_weights, scale, sizes, N, S,
    M: tl.constexpr, L: tl.constexpr, P: tl.constexpr, D: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
    EXACT: tl.constexpr,
):  # fmt: skip
    queries = tl.program_id(0) * BN + tl.arange(0, BN)
    image, head = (tl.program_id(1) // M).to(tl.int64), tl.program_id(1) % M
    present, channels = queries < N, tl.arange(0, BD)
    rows = (image * N + queries) * M + head
    start = (image * S * M + head) * D
    inside = present[:, None] & (channels < D)[None, :]
    above = tl.load(grad + rows[:, None] * D + channels[None, :], mask=inside, other=0.0)  # (BN, BD)
    parts = tl.load(scale) if EXACT else 1.0
    for level in tl.static_range(L):
        h, w = sizes[2 * level], sizes[2 * level + 1]
        for p in range(P):
            places = rows * (L * P) + level * P + p
            x, y, fx, fy, weight, moves_x, moves_y = _corners(places, locations, weights, present, h, w)
            by_weight = tl.zeros((BN,), tl.float32)
            by_x = tl.zeros((BN,), tl.float32)
            by_y = tl.zeros((BN,), tl.float32)
            for corner in tl.static_range(4):
                offset, mask = _offset_and_mask(x + corner % 2, y + corner // 2, h, w, present, channels, M, D)
                pixels = tl.load(value + start + offset, mask=mask, other=0.0).to(tl.float32)
                dot = tl.sum(above * pixels, axis=1)  # (BN,)
                part_x, part_y = fx if corner % 2 else 1 - fx, fy if corner // 2 else 1 - fy
                by_weight += part_x * part_y * dot
                by_x += (part_y if corner % 2 else -part_y) * dot
                by_y += (part_x if corner // 2 else -part_x) * dot
                contribution = (weight * part_x * part_y)[:, None] * above
                if EXACT:
                    whole = tl.floor(contribution.to(tl.float64) * parts + 0.5).to(tl.int64)
                    tl.atomic_add(grad_value + start + offset, whole, mask=mask)
                else:
                    tl.atomic_add(grad_value + start + offset, contribution, mask=mask)
            tl.store(grad_weights + places, by_weight, mask=present)
            tl.store(grad_locations + 2 * places, tl.where(moves_x, by_x * weight * w, 0.0), mask=present)
            tl.store(grad_locations + 2 * places + 1, tl.where(moves_y, by_y * weight * h, 0.0), mask=present)
        start += h * w * M * D


def _settings(value: Tensor, locations: Tensor) -> tuple[tuple[int, int], dict[str, int]]:
    """Return the grid of programs and the compile-time constants of both kernels."""
    b, _, m, d = value.shape
    _, n, _, levels, points, _ = locations.shape
    wide = max(triton.next_power_of_2(d), 16)
    block = max(_TILE // wide, 1)
    return (triton.cdiv(n, block), b * m), {"M": m, "L": levels, "P": points, "D": d, "BN": block, "BD": wide}


@library.custom_op("vislab::ms_deform_attn", mutates_args=())
def _forward(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    b, s, m, d = value.shape
    n = locations.shape[1]
    out = value.new_empty(b, n, m * d, dtype=torch.float32)
    if out.numel():
        grid, constants = _settings(value, locations)
        _forward_kernel[grid](value, locations, weights, out, tuple(sizes), n, s, **constants)
    return out


@_forward.register_fake
def _(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], locations.shape[1], value.shape[2] * value.shape[3], dtype=torch.float32)


@library.custom_op("vislab::ms_deform_attn_backward", mutates_args=())
def _backward(
    grad: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    exact = torch.are_deterministic_algorithms_enabled()
    grad_value = torch.zeros_like(value, dtype=torch.int64 if exact else torch.float32)
    grad_locations, grad_weights = torch.zeros_like(locations), torch.zeros_like(weights)
    scale = grad.new_ones((), dtype=torch.float64)
    if grad.numel() and weights.numel():
        if exact:
            largest = grad.abs().amax().double() * weights.abs().amax().double()
            scale = _PARTS / largest.clamp_min(torch.finfo(torch.float32).tiny)
        grid, constants = _settings(value, locations)
        results = (grad_value, grad_locations, grad_weights)
        sizes, n, s = tuple(sizes), locations.shape[1], value.shape[1]
        _backward_kernel[grid](grad, value, locations, weights, *results, scale, sizes, n, s, EXACT=exact, **constants)
    if exact:
        grad_value = grad_value.double() / scale
    return grad_value.to(value.dtype), grad_locations, grad_weights


@_backward.register_fake
def _(
    grad: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(value), torch.empty_like(locations), torch.empty_like(weights)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    value, sizes, locations, weights = inputs
    ctx.sizes = sizes
    ctx.save_for_backward(value, locations, weights)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    value, locations, weights = ctx.saved_tensors
    grads = _backward(grad.contiguous(), value, ctx.sizes, locations, weights)
    return grads[0], None, grads[1], grads[2]


_forward.register_autograd(_differentiate, setup_context=_save)


def sample_by_kernel(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Triton implementation of `ms_deform_attn`, with its arguments; `value` in float32, bfloat16 or float16."""
    sizes = [side for shape in shapes for side in shape]
    locations, weights = locations.float().contiguous(), weights.float().contiguous()
    return _forward(value.contiguous(), sizes, locations, weights)
