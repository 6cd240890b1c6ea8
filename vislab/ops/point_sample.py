"""Sample feature maps at continuous points: bilinear, align_corners=False, zero padding."""

import torch
from torch import Tensor
from torch.nn import functional as F

_CHUNK = 1 << 24  # elements of integer maps that are converted to float at a time


def point_sample(maps: Tensor, points: Tensor) -> Tensor:
    """Sample each map at its own points, or all maps at the same points.

    Args:
        maps: (N, H, W) of any dtype; integer and bool maps are converted to float32 in chunks.
        points: (N, P, 2), or (1, P, 2) for all maps; x and y, where 0 and 1 are the edges of a map.

    Returns:
        (N, P) float.
    """
    if not maps.is_floating_point():
        step = max(1, _CHUNK // max(1, maps[0].numel())) if len(maps) else 1
        parts = zip(maps.split(step), _split(points, step, len(maps)), strict=False)
        sampled = [point_sample(part.float(), place) for part, place in parts]
        return torch.cat(sampled) if sampled else points.new_zeros(0, points.shape[1])
    grid = (2 * points.to(maps.dtype) - 1)[:, None]  # (N or 1, 1, P, 2)
    if len(points) == 1 and len(maps) != 1:  # one image of N channels: positions are computed once
        return F.grid_sample(maps[None], grid, align_corners=False)[0, :, 0]
    return F.grid_sample(maps[:, None], grid, align_corners=False)[:, 0, 0]


def point_sample_rows(maps: Tensor, points: Tensor) -> Tensor:
    """Sample all channels of one map at points.

    Args:
        maps: (C, H, W) float.
        points: (P, 2), as in `point_sample`.

    Returns:
        (P, C).
    """
    if maps.device.type != "cpu":
        return F.grid_sample(maps[None], (2 * points.to(maps.dtype) - 1)[None, None], align_corners=False)[0, :, 0].T
    h, w = maps.shape[1:]
    table = maps.flatten(1).T.contiguous()  # (HW, C): the four corners of a point are then four rows
    x, y = points[:, 0] * w - 0.5, points[:, 1] * h - 0.5
    left, top = x.floor(), y.floor()
    fx, fy = x - left, y - top
    rows, weights = [], []
    for dy, wy in ((0, 1 - fy), (1, fy)):
        for dx, wx in ((0, 1 - fx), (1, fx)):
            px, py = left + dx, top + dy
            valid = (px >= 0) & (px < w) & (py >= 0) & (py < h)
            rows.append(py.clamp(0, h - 1).long() * w + px.clamp(0, w - 1).long())
            weights.append(wx * wy * valid)
    weights = torch.stack(weights, 1).to(table.dtype)
    return F.embedding_bag(torch.stack(rows, 1), table, per_sample_weights=weights, mode="sum")


def point_sample_maps(maps: Tensor, points: Tensor) -> Tensor:
    """Sample all channels of several maps, each at its own points.

    Args:
        maps: (N, C, H, W) float.
        points: (N, P, 2), as in `point_sample`.

    Returns:
        (N, C, P).
    """
    if maps.device.type == "cpu":
        return torch.stack([point_sample_rows(*pair).T for pair in zip(maps, points, strict=True)])
    return F.grid_sample(maps, (2 * points.to(maps.dtype) - 1)[:, None], align_corners=False)[:, :, 0]


def _split(points: Tensor, step: int, count: int) -> list[Tensor]:
    """Split the points of `count` maps into chunks of `step`; shared points are repeated for each chunk."""
    return list(points.split(step)) if len(points) == count else [points] * -(-count // step)
