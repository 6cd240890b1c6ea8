"""Gram matrix a^T a of the input of a layer, and its weight gradient g^T a in full precision.

A row of `a` is the input of one output position (a column of x in the paper):

    Linear  rows are samples or tokens                       n = in_features (PatchConv2d: the values of a patch)
    Conv2d  rows are unfolded windows, one per output pixel  n = in_channels / groups * kh * kw, as in weight.flatten(1)

The input is processed in chunks and never unfolded as a whole, so memory is bounded. Sums are float32 (float64 for
float64 input) for any input dtype, since a Gram matrix in bfloat16 is not positive definite.

Overlapping windows are not unfolded along the height either. With stride s, kernel row u + s at output row p has the
same input as kernel row u at output row p + 1, so the blocks of a^T a satisfy

    A[u + s, v + s] = A[u, v] - (first output row) + (the row after the last)

and only blocks with u < s are summed over the image: 13 of 49 for a 7x7 convolution with stride 2.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.systems.tract.layers import is_linear, padding

_BLOCK = 96
"""Columns per matrix product in `squares`: smaller saves multiplications, larger is more efficient."""


def gram(x: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """Return a^T a over all rows of the layer input x: (groups, n, n), float32 or float64."""
    if is_linear(layer):
        return squares(part[None] for part in _chunks(_rows_of_linear(x), x.shape[-1]))
    x = _batched(x)
    (kh, kw), (sh, sw) = layer.kernel_size, layer.stride
    columns = x.shape[1:].numel() * kw // sw  # elements of one image unfolded along its width only
    if sh < kh and layer.dilation[0] == 1:
        return _resolve(_add_up(_row_blocks(part, layer) for part in _chunks(x, columns)), layer)
    return squares(input_rows(part, layer) for part in _chunks(x, columns * kh // sh))


def input_rows(x: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """Return the whole matrix a (groups, N, n), with rows in the order (b, h, w); for small inputs."""
    if is_linear(layer):
        return _wide(_rows_of_linear(x))[None]
    x = _padded(_batched(x), layer)  # (B, G, C/G, Hp, Wp)
    if layer.stride == layer.kernel_size and layer.dilation == (1, 1):
        return _patches(x, layer)
    windows = _windows(_windows(x, 0, layer), 1, layer)  # (B, G, C/G, Ho, Wo, kh, kw)
    return windows.permute(1, 0, 3, 4, 2, 5, 6).flatten(4).flatten(1, 3)


def output_rows(g: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """Return the output gradient g as (groups, N, m / groups), with rows in the order of `input_rows`."""
    if is_linear(layer):
        return _wide(_rows_of_linear(g))[None]
    return _wide(_batched(g)).unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 4, 2).flatten(1, 3)


def weight_gradient(x: Tensor, g: Tensor, layer: nn.Linear | nn.Conv2d) -> Tensor:
    """Return g^T a in float32 or float64, in the shape of the weight, from the input x and the output gradient g."""
    if is_linear(layer):
        total = _add_up(
            _wide(part_g).mT @ _wide(part_x)
            for part_x, part_g in zip(*(_chunks(_rows_of_linear(t), x.shape[-1]) for t in (x, g)), strict=True)
        )
        return total.view(layer.weight.shape)
    x, g = _batched(x), _batched(g)
    settings = {"stride": layer.stride, "dilation": layer.dilation, "groups": layer.groups}
    return _add_up(
        torch.nn.grad.conv2d_weight(_padded(part_x, layer).flatten(1, 2), layer.weight.shape, _wide(part_g), **settings)
        for part_x, part_g in zip(*(_chunks(t, x.shape[1:].numel() + g.shape[1:].numel()) for t in (x, g)), strict=True)
    )


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _rows_of_linear(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _batched(x: Tensor) -> Tensor:
    return x if x.dim() == 4 else x[None]


def _chunks(x: Tensor, elements: int) -> tuple[Tensor, ...]:
    """Split the samples, of `elements` each, into chunks that fit into a CPU cache or 128 MiB of an accelerator."""
    budget = 2**21 if x.device.type == "cpu" else 2**25
    return x.split(max(1, budget // max(1, elements)))


def _add_up(parts: Iterable[Tensor]) -> Tensor:
    parts = iter(parts)
    total = next(parts)
    for part in parts:
        total += part
    return total


def squares(parts: Iterable[Tensor]) -> Tensor:
    """Return the sum of a^T a over parts (G, N, n); only the upper blocks are multiplied."""
    total = None
    for a in parts:
        a = _wide(a)
        n = a.shape[2]
        total = a.new_zeros(a.shape[0], n, n) if total is None else total
        for start in range(0, n, _BLOCK):
            block = slice(start, start + _BLOCK)
            total[:, block, start:].baddbmm_(a[:, :, block].mT, a[:, :, start:])
    for start in range(_BLOCK, n, _BLOCK):
        total[:, start:, start - _BLOCK : start] = total[:, start - _BLOCK : start, start:].mT
    return total


def _padded(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Pad like the layer and split the channels: (B, G, C/G, Hp, Wp)."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    sides = padding(layer, x.shape[2:])
    x = F.pad(_wide(x), sides, mode=mode) if any(sides) else _wide(x)
    return x.unflatten(1, (layer.groups, -1))


def _windows(x: Tensor, axis: int, layer: nn.Conv2d) -> Tensor:
    """Return a view with the windows along the height (axis 0) or width (axis 1) in a new last dimension."""
    dilation, kernel = layer.dilation[axis], layer.kernel_size[axis]
    return x.unfold(3 + axis, dilation * (kernel - 1) + 1, layer.stride[axis])[..., ::dilation]


def _patches(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Rearrange non-overlapping windows, (B, G, C/G, Hp, Wp) to (G, N, n), four floats at a time if possible."""
    (kh, kw), (height, width) = layer.kernel_size, x.shape[3:]
    dtype, n = x.dtype, x.shape[2] * kh * kw
    wide = dtype == torch.float32 and not (kw % 4 or width % 4 or x.storage_offset() % 4)
    if wide and x.is_cpu and x.is_contiguous():
        x, kw, width = x.view(torch.complex128), kw // 4, width // 4  # copy 16 bytes at a time
    rows, columns = height // kh, width // kw
    x = x[..., : rows * kh, : columns * kw].reshape(*x.shape[:3], rows, kh, columns, kw)
    return x.permute(1, 0, 3, 5, 2, 4, 6).contiguous().view(dtype).view(x.shape[1], -1, n)


def _row_blocks(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return blocks A[u, v], u <= v, of the kernel rows: (kh, kh, G, K, K) with K = C/G * kw.

    Blocks with u >= stride contain the difference to A[u - stride, v - stride], which `_resolve` adds. Blocks of one u
    whose v differ by the stride are one batched product of overlapping views.
    """
    kh, s = layer.kernel_size[0], layer.stride[0]
    columns = _windows(_padded(x, layer), 1, layer)  # (B, G, C/G, Hp, Wo, kw)
    height = (columns.shape[3] - kh) // s + 1
    columns = columns.permute(1, 3, 0, 4, 2, 5).flatten(4).flatten(2, 3)  # (G, Hp, B * Wo, K)
    blocks = columns.new_zeros(kh, kh, len(columns), columns.shape[-1], columns.shape[-1])
    phases = [columns[:, first::s].contiguous() for first in range(s)]  # image rows that a kernel row sees
    for group in range(len(columns)):
        for u in range(s):
            seen = _output_rows(phases[u][group], 0, 1, height)  # (1, height * B * Wo, K)
            for r in range(s):
                v = u + (r - u) % s  # the first kernel row from u on in phase r
                if v < kh:  # this and every s-th after it, whose inputs overlap
                    others = _output_rows(phases[r][group], v // s, len(range(v, kh, s)), height)
                    blocks[u, v::s, group] = torch.bmm(seen.mT.expand(len(others), -1, -1), others)
    # what kernel rows see at the output row after the last, and at the first
    ends = torch.stack([columns[:, start : start + kh - s] for start in (s * height, 0)])
    ends = ends.transpose(2, 3).flatten(3)  # (2, G, B * Wo, (kh - s) * K)
    enters, leaves = ends.mT @ ends
    change = (enters - leaves).unflatten(2, (kh - s, -1)).unflatten(1, (kh - s, -1))  # (G, kh - s, K, kh - s, K)
    blocks[s:, s:] = change.permute(1, 3, 0, 2, 4)
    return blocks


def _output_rows(rows: Tensor, start: int, count: int, height: int) -> Tensor:
    """Return views (count, height * n, K) of image rows (R, n, K): rows i to i + height - 1 for i from `start` on."""
    _, n, k = rows.shape
    return rows.as_strided((count, height * n, k), (n * k, k, 1), rows.storage_offset() + start * n * k)


def _resolve(blocks: Tensor, layer: nn.Conv2d) -> Tensor:
    """Evaluate the recurrence, mirror the lower blocks and order rows and columns as (c, kh, kw): (G, n, n)."""
    (kh, kw), s = layer.kernel_size, layer.stride[0]
    for u in range(s, kh, s):
        stop = min(u + s, kh)
        blocks[u:stop, u:] += blocks[u - s : stop - s, u - s : kh - s]
    upper = torch.ones(kh, kh, dtype=torch.bool, device=blocks.device).triu_()[:, :, None, None, None]
    blocks = torch.where(upper, blocks, blocks.transpose(0, 1).mT)
    blocks = blocks.unflatten(4, (-1, kw)).unflatten(3, (-1, kw))  # (kh, kh', G, C, kw, C', kw')
    return blocks.permute(2, 3, 0, 4, 5, 1, 6).flatten(4).flatten(1, 3)
