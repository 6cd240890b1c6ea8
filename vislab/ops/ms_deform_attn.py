"""Core of multi-scale deformable attention: a weighted sum of bilinear samples from several feature maps per query.

Three implementations of the same sum, none of which needs a compiled extension. The reference calls `grid_sample` once
per level and adds the results. On a GPU a Triton kernel (ms_deform_attn_triton.py) is used if it agrees with the
reference there. On a CPU the sum is a product with a sparse matrix that has one row per query and head, with 48 entries
for 3 levels of 4 points with four corners. The forward pass calls `embedding_bag` once per corner; the backward pass
uses the transposed and the sampled product. Neither of the last two allocates a tensor of size queries x points x
channels.
"""

import os
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils._python_dispatch import _disable_current_modes

Shapes = Sequence[tuple[int, int]]

_agrees: dict[tuple[torch.device, torch.dtype], bool] = {}  # results of _kernel_agrees

with warnings.catch_warnings():  # suppress torch's warning that sparse tensors are in beta
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1))


def ms_deform_attn(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of bilinear samples (align_corners=False, zero padding), computed in float32 or float64.

    Args:
        value: (B, S, M, D) feature maps, flattened row by row and concatenated over levels; M heads of D channels.
        shapes: (height, width) of each of the L levels, as Python integers; their areas sum to S.
        locations: (B, N, M, L, P, 2) sampling points (x, y), where 0 and 1 are the edges of a map.
        weights: (B, N, M, L, P) attention weights.

    Returns:
        (B, N, M * D), in the dtype of `value`; float32 for reduced precision inputs.
    """
    areas = sum(h * w for h, w in shapes)
    if value.shape[1] != areas or locations.shape[3] != len(shapes):
        raise ValueError(
            f"value has {value.shape[1]} positions and locations {locations.shape[3]} levels; the shapes {shapes} have "
            f"{areas} and {len(shapes)}"
        )
    with torch.autocast(value.device.type, enabled=False):
        device = value.device
        if device.type == "cuda" and not torch.onnx.is_in_onnx_export() and kernel_agrees(device, value.dtype):
            return _kernel()(value, shapes, locations, weights)
        if value.dtype != torch.float64:  # bfloat16 is too coarse for locations: half a step is off by a pixel
            value, locations, weights = value.float(), locations.float(), weights.float()
        if value.device.type == "cpu" and not torch.compiler.is_compiling():
            return _SparseProduct.apply(value, tuple(map(tuple, shapes)), locations, weights)
        return sample_levels(value, shapes, locations, weights)


def sample_levels(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Reference implementation with one `grid_sample` call per level. Arguments as in `ms_deform_attn`."""
    b, _, m, d = value.shape
    n = locations.shape[1]
    maps = value.permute(0, 2, 3, 1).reshape(b * m, d, -1).split([h * w for h, w in shapes], dim=2)  # L of (BM, D, HW)
    grid = (2 * locations - 1).permute(3, 0, 2, 1, 4, 5).reshape(len(shapes), b * m, n, -1, 2)  # (L, BM, N, P, 2)
    weights = weights.permute(3, 0, 2, 1, 4).reshape(len(shapes), b * m, 1, n, -1)  # (L, BM, 1, N, P)
    total = 0
    for level, (h, w) in enumerate(shapes):
        samples = F.grid_sample(maps[level].view(b * m, d, h, w), grid[level], align_corners=False)  # (BM, D, N, P)
        total = total + (samples * weights[level]).sum(-1)
    return total.view(b, m * d, n).transpose(1, 2)  # (B, N, M * D)


# ------------------------------------------------------------------------------------------------------ Triton kernel


@torch.compiler.assume_constant_result
def kernel_agrees(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the Triton kernel is used for values of a dtype on a device.

    It is compared with the reference once per process, on a small input with all gradients; if it fails or differs, the
    reference is used, with one warning. VISLAB_TRITON=0 in the environment turns the kernel off.
    """
    if os.environ.get("VISLAB_TRITON") == "0" or dtype == torch.float64 or not torch.cuda.is_available():
        return False
    if (device, dtype) not in _agrees:
        with _disable_current_modes():  # real tensors, also while a compiler traces fake ones
            _agrees[device, dtype] = _compare(device, dtype)
    return _agrees[device, dtype]


def _kernel() -> Callable[..., Tensor]:
    from vislab.ops.ms_deform_attn_triton import sample_by_kernel  # Triton is slow to import, and for Linux only

    return sample_by_kernel


@torch.enable_grad()
def _compare(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether kernel and reference agree in the result and all gradients."""
    shapes, generator = ((5, 7), (3, 2)), torch.Generator().manual_seed(0)
    sizes = (2, 41, 3, 20), (2, 33, 3, 2, 4, 2), (2, 33, 3, 2, 4), (2, 33, 60)
    value, locations, weights, grad = (torch.rand(size, generator=generator) for size in sizes)
    inputs = [value.to(dtype).float(), locations * 1.6 - 0.3, weights]
    found = []
    try:
        for form, kind in ((sample_levels, torch.float32), (_kernel(), dtype)):
            value, *others = (x.to(device).requires_grad_() for x in inputs)
            out = form(value.to(kind), shapes, *others)
            found.append([out.detach(), *torch.autograd.grad((out * grad.to(device)).sum(), (value, *others))])
        # the gradient of the value is rounded to its dtype
        errors = [(a - b).abs().max() / a.abs().max() for a, b in zip(*found, strict=True)]
        limits = [1e-4, max(1e-4, 2 * torch.finfo(dtype).eps), 1e-4, 1e-4]
        agree = all(error < limit for error, limit in zip(errors, limits, strict=True))  # not if one is NaN
        problem = None if agree else f"relative differences {', '.join(f'{float(error):.1e}' for error in errors)}"
    except Exception as error:  # of any kind: a missing package, an unsupported device, a failed compilation
        problem = f"{type(error).__name__}: {error}"
    if problem:
        warnings.warn(
            f"deformable attention on {device} in {dtype} uses grid_sample, which needs more memory: its Triton kernel "
            f"fails there, or differs from grid_sample: {problem}",
            stacklevel=2,
        )
    return problem is None


# --------------------------------------------------------------------------------------------------------------- CPU


class _SparseProduct(torch.autograd.Function):
    """CPU implementation. Maps are padded with a border of zeros, so that all four corners of each point exist."""

    @staticmethod
    def forward(ctx, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
        b, _, m, d = value.shape
        table = _pad(value, shapes)  # (B * S', M, D)
        moves = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        base, fx, fy, inside = _corners(locations, shapes, table.shape[0] // b, moves)
        out = None
        for (rows, right), counts in zip(_corner_rows(base, shapes), _corner_weights(fx, fy, weights), strict=True):
            part = F.embedding_bag(rows, table[right:].view(-1, d), per_sample_weights=counts, mode="sum")
            out = part if out is None else out.add_(part)
        ctx.shapes = shapes
        ctx.sizes = (b, m, d)
        ctx.save_for_backward(table, base, fx, fy, inside, weights)
        return out.view(b, -1, m * d)  # (B, N, M * D)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        table, base, fx, fy, inside, weights = ctx.saved_tensors
        b, m, d = ctx.sizes
        grad = grad.reshape(-1, d)  # (R, D), one row per query and head
        indices = torch.cat([rows + m * right if right else rows for rows, right in _corner_rows(base, ctx.shapes)], 1)
        grad_value = grad_locations = grad_weights = None
        if ctx.needs_input_grad[0]:
            entries = torch.cat(_corner_weights(fx, fy, weights), 1)
            scattered = _transposed_product(indices, entries, grad, b * m * (len(table) // b))
            grad_value = _unpad(scattered.view(b, -1, m, d), ctx.shapes)
        if ctx.needs_input_grad[2] or ctx.needs_input_grad[3]:
            dots = _sampled_product(indices, grad, table.view(-1, d)).view(*weights.shape[:3], 4, *weights.shape[3:])
            top, bottom = dots[:, :, :, 0], dots[:, :, :, 2]
            step_top, step_bottom = dots[:, :, :, 1] - top, dots[:, :, :, 3] - bottom
            top = torch.addcmul(top, fx, step_top)  # along the upper row of corners, then along the lower
            step_y = torch.addcmul(bottom, fx, step_bottom).sub_(top)
            grad_weights = torch.addcmul(top, fy, step_y)
            step_x = torch.lerp(step_top, step_bottom, fy).mul_(weights)
            steps = torch.stack((step_x, step_y.mul_(weights)), dim=-1).mul_(inside).flatten(3)
            scale = _widths(ctx.shapes, steps).expand(-1, inside.shape[4], -1).flatten()
            grad_locations = steps.mul_(scale).view(inside.shape)
        return grad_value, None, grad_locations, grad_weights


def _widths(shapes: Shapes, like: Tensor) -> Tensor:
    """Return the width and height of each level, (L, 1, 2)."""
    return like.new_tensor([(w, h) for h, w in shapes])[:, None]


def _pad(value: Tensor, shapes: Shapes) -> Tensor:
    """Add a border of zeros to each map: (B, S, M, D) to (B * S', M, D)."""
    b, _, m, d = value.shape
    table = value.new_zeros(b, sum((h + 2) * (w + 2) for h, w in shapes), m, d)
    start = place = 0
    for h, w in shapes:
        bordered = table[:, place : place + (h + 2) * (w + 2)].view(b, h + 2, w + 2, m, d)
        bordered[:, 1:-1, 1:-1] = value[:, start : start + h * w].view(b, h, w, m, d)
        start, place = start + h * w, place + (h + 2) * (w + 2)
    return table.view(-1, m, d)


def _unpad(table: Tensor, shapes: Shapes) -> Tensor:
    """Remove the border of each map: (B, S', M, D) to (B, S, M, D)."""
    b, _, m, d = table.shape
    levels = table.split([(h + 2) * (w + 2) for h, w in shapes], dim=1)
    pairs = zip(levels, shapes, strict=True)
    return torch.cat([x.view(b, h + 2, w + 2, m, d)[:, 1:-1, 1:-1].reshape(b, h * w, m, d) for x, (h, w) in pairs], 1)


def _corners(
    locations: Tensor, shapes: Shapes, padded: int, moves: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return the rows of the upper left corners in the padded table (int32), the fractional offsets in x and y, and, if
    `moves`, whether each coordinate lies within one pixel of its map (..., 2); beyond, samples and gradients are
    zero."""
    b, n, m, levels, p, _ = locations.shape
    # a single long last axis, heads x levels x points x (x, y), keeps the operations below fast
    size = _widths(shapes, locations).expand(-1, p, -1).flatten().repeat(m)
    pixel = torch.addcmul(size.new_full((), -0.5), locations.flatten(2), size)
    inside = (pixel > -1).logical_and_(pixel < size).view(locations.shape) if moves else None
    pixel.clamp_(min=size.new_full((), -1), max=size)
    corner = torch.minimum(pixel.floor(), size - 1)
    fraction = pixel.sub_(corner)
    corner = corner.to(torch.int32).clamp_(min=-1)  # a NaN must not index outside the table; its fraction stays NaN
    widths, starts, start = [], [], 0
    for h, w in shapes:
        widths += [w + 2] * p
        starts += [start + w + 3] * p  # of pixel (0, 0)
        start += (h + 2) * (w + 2)
    # row = (image offset + level offset + y * width + x) * heads + head
    steps = m * corner.new_tensor(widths).repeat(m)
    origin = m * corner.new_tensor(starts).repeat(m) + torch.arange(m, dtype=torch.int32).repeat_interleave(levels * p)
    origin = origin + m * torch.arange(0, b * padded, padded, dtype=torch.int32).view(b, 1, 1)
    base = torch.addcmul(origin, corner[..., 1::2], steps).add_(corner[..., ::2], alpha=m)
    x, y = fraction[..., ::2].contiguous(), fraction[..., 1::2].contiguous()
    shape = (b, n, m, levels, p)
    return base.view(shape), x.view(shape), y.view(shape), inside


def _corner_rows(base: Tensor, shapes: Shapes) -> list[tuple[Tensor, int]]:
    """Return table rows (R, L * P) and a pixel offset for each corner: upper left, upper right, lower left, lower
    right, in this order."""
    m, points = base.shape[2], base.shape[4]
    below = base.new_tensor([(w + 2) * m for _, w in shapes for _ in range(points)]).repeat(m)
    upper = base.flatten(0, 2).flatten(1)
    lower = (base.flatten(2) + below).view(upper.shape)
    return [(upper, 0), (upper, 1), (lower, 0), (lower, 1)]


def _corner_weights(fx: Tensor, fy: Tensor, weights: Tensor) -> list[Tensor]:
    """Return the weights of the rows from `_corner_rows`, (R, L * P) per corner."""
    lower = weights * fy
    upper = weights - lower
    upper_right, lower_right = upper * fx, lower * fx
    corners = upper.sub_(upper_right), upper_right, lower.sub_(lower_right), lower_right
    return [x.flatten(0, 2).flatten(1) for x in corners]


def _transposed_product(indices: Tensor, entries: Tensor, grad: Tensor, rows: int) -> Tensor:
    """Gradient of the table: the transposed sparse matrix (rows, R) times (R, D). SciPy reads the matrix column by
    column; torch would sort the entries first, which takes five times as long."""
    from scipy.sparse import csc_array

    columns, length = indices.shape
    starts = torch.arange(0, (columns + 1) * length, length, dtype=torch.int32)
    matrix = csc_array((entries.flatten().numpy(), indices.flatten().numpy(), starts.numpy()), shape=(rows, columns))
    return torch.from_numpy(matrix @ grad.numpy())


def _sampled_product(indices: Tensor, grad: Tensor, table: Tensor) -> Tensor:
    """Gradient of the entries: grad @ table.T at the non-zero positions of the sparse matrix only, (R * K,)."""
    columns, length = indices.shape
    starts = torch.arange(0, (columns + 1) * length, length, dtype=torch.int32)
    zeros = grad.new_zeros(columns * length)
    shape = (columns, len(table))
    places = torch.sparse_csr_tensor(starts, indices.flatten(), zeros, shape, check_invariants=False)
    return torch.sparse.sampled_addmm(places, grad, table.t(), beta=0.0).values()
