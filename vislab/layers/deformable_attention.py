"""Multi-scale deformable attention (Zhu et al., arXiv 2010.04159) around points, boxes and rotated boxes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.layers.recompute import recompute
from vislab.layers.softmax import short_softmax
from vislab.layers.tables import Tables
from vislab.ops.ms_deform_attn import ms_deform_attn

Shapes = Sequence[tuple[int, int]]


class MSDeformAttention(nn.Module):
    """Multi-scale deformable attention: each query samples `num_points` points per head and level around its reference.

    Args:
        dim: Channels of queries, values and the output.
        num_heads: Number of heads; must divide `dim`.
        num_levels: Number of maps.
        num_points: Points per head and level.
    """

    def __init__(self, *, dim: int = 256, num_heads: int = 8, num_levels: int = 3, num_points: int = 4) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"MSDeformAttention: dim={dim} is not divisible by num_heads={num_heads}")
        self.num_heads, self.num_levels, self.num_points = num_heads, num_levels, num_points
        self.sampling_offsets = nn.Linear(dim, num_heads * num_levels * num_points * 2)
        self.attention_weights = nn.Linear(dim, num_heads * num_levels * num_points)
        self.value_proj = nn.Linear(dim, dim)
        self.tables = Tables(1 << 16)
        self.output_proj = nn.Linear(dim, dim)
        self._init()

    def _init(self) -> None:
        nn.init.zeros_(self.sampling_offsets.weight)
        angle = torch.arange(self.num_heads) * (2 * torch.pi / self.num_heads)
        direction = torch.stack((angle.cos(), angle.sin()), dim=1)
        direction = direction / direction.abs().amax(1, keepdim=True)  # (heads, 2), on a square
        reach = torch.arange(1, self.num_points + 1)[:, None]
        bias = (direction[:, None, None] * reach).expand(-1, self.num_levels, -1, -1)
        self.sampling_offsets.bias.data = bias.flatten().clone()
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        value: Tensor,
        shapes: Shapes,
        *,
        position: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Attend to points of the maps around the references.

        Args:
            query: (B, N, dim).
            reference: Points, boxes or rotated boxes of the queries; see `sampling_locations`.
            value: (B, S, dim), pixels of all levels, flattened row by row and concatenated.
            shapes: (height, width) of each level; the sum of their areas is S.
            position: Position encoding added to `query` for the prediction of offsets and weights; broadcastable.
            mask: (B, S) bool, False at padding, where `value` is replaced by 0.

        Returns:
            (B, N, dim), of the dtype of `query`.
        """
        b, n, _ = query.shape
        heads, levels, points = self.num_heads, self.num_levels, self.num_points
        maps = self.value_proj(value)
        if mask is not None:
            maps = maps.masked_fill(~mask[..., None], 0)
        maps = maps.unflatten(2, (heads, -1))  # (B, S, heads, dim / heads)
        # the sum with the position is recomputed in the backward pass, so that only the query is stored
        offsets = recompute(lambda x: self._offsets(_add(x, position)), query)
        weights = recompute(lambda x: self.attention_weights(_add(x, position)), query)
        offsets = offsets.view(b, n, heads, levels, points, 2)
        wide = torch.float64 if offsets.dtype == torch.float64 else torch.float32
        key = (tuple(map(tuple, shapes)), offsets.device, wide)
        locations = sampling_locations(reference, offsets, shapes, self.tables.get(lambda: pixel_sides(*key), *key))
        weights = short_softmax(weights.view(b, n, heads, levels * points).to(offsets.dtype))
        out = ms_deform_attn(maps, shapes, locations, weights.view(b, n, heads, levels, points))
        return self.output_proj(out.to(query.dtype))

    def _offsets(self, queries: Tensor) -> Tensor:
        """Predict the offsets (B, N, heads * levels * points * 2) of queries (B, N, dim).

        Computed in float32 or float64 also under autocast, since bfloat16 rounds offsets above 8 pixels to 1/16 pixel.
        """
        with torch.autocast(queries.device.type, enabled=False):
            return self.sampling_offsets(queries if queries.dtype == torch.float64 else queries.float())


class DeformableEncoderLayer(nn.Module):
    """Encoder layer with deformable self-attention and a feed-forward network, each with a residual and a post-norm.

    Args:
        dim: Channels.
        num_heads, num_levels, num_points: See MSDeformAttention.
        ffn_dim: Hidden channels of the feed-forward network.
        dropout: Dropout rate of the outputs of the attention and the feed-forward network.
    """

    def __init__(
        self, *, dim: int, num_heads: int, num_levels: int, num_points: int, ffn_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.num_levels, self.dropout = num_levels, dropout
        self.self_attn = MSDeformAttention(dim=dim, num_heads=num_heads, num_levels=num_levels, num_points=num_points)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self, tokens: Tensor, position: Tensor, reference: Tensor, shapes: Shapes, mask: Tensor | None = None
    ) -> Tensor:
        """Update tokens (B, S, dim); `position` is added to the queries only. See MSDeformAttention."""
        seen = self.self_attn(tokens, reference, tokens, shapes, position=position, mask=mask)
        tokens = tokens + self._drop(seen)
        tokens, hidden = recompute(self._widen, tokens)
        return self.norm2(tokens + self._drop(self.linear2(hidden.relu_()).view_as(tokens)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x

    def _widen(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the normalized tokens (B, S, dim) and hidden activations (B * S, ffn_dim).

        Tokens are flattened to two axes, since the output of a linear layer on three axes is a view, and an in-place
        ReLU on a view costs three copies in the backward pass.
        """
        tokens = self.norm1(tokens)
        return tokens, self.linear1(tokens.flatten(0, 1))


def pixel_sides(shapes: Shapes, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the width and height (levels, 2) of a pixel of each level, relative to the map."""
    return torch.tensor([(1 / w, 1 / h) for h, w in shapes], dtype=dtype).to(device, non_blocking=True)


def sampling_locations(reference: Tensor, offsets: Tensor, shapes: Shapes, sides: Tensor | None = None) -> Tensor:
    """Return the sampling locations in float32 or float64.

    References are in relative coordinates, with x and y in [0, 1] over the width and height of the maps:

    - a point (x, y): offsets are pixels of each level;
    - a box (cx, cy, w, h): an offset of `num_points` is the edge of the box, half its width or height from the center;
    - a rotated box (cx, cy, w, h, theta): as a box, rotated clockwise by theta as in `structures.rotated_boxes`. The
      rotation is applied in pixels of the largest level, so that angles are preserved in images that are not square.

    Args:
        reference: (N, K), (B, N, K) or, with one reference per level, (B, N, levels, K); K = 2, 4 or 5 as above.
        offsets: (B, N, heads, levels, points, 2), x first.
        shapes: (height, width) of each level.
        sides: Result of `pixel_sides`, if it is there.

    Returns:
        (B, N, heads, levels, points, 2): (x, y) in [0, 1] from edge to edge of a map.
    """
    kind = reference.shape[-1]
    if kind not in (2, 4, 5) or not 2 <= reference.ndim <= 4:
        raise ValueError(
            f"reference has shape {tuple(reference.shape)}; expected (N, K), (B, N, K) or (B, N, levels, K) with K = 2 "
            "(points), 4 (boxes) or 5 (rotated boxes)"
        )
    wide = torch.float64 if offsets.dtype == torch.float64 else torch.float32
    reference = reference.to(wide)
    if kind != 2:
        offsets = _box_offsets(reference, offsets, shapes)
    _, _, heads, levels, points, _ = offsets.shape
    # computed on one axis of levels * points * 2 elements, since loops over short axes are slow
    center = reference[..., :2] if reference.ndim == 4 else reference[..., None, :2]  # (..., N, levels or 1, 2)
    start = center[..., None, :].expand(*center.shape[:-2], levels, points, 2).flatten(-3).unsqueeze(-2)
    offsets = offsets.flatten(3)
    if kind == 2:
        sides = pixel_sides(shapes, offsets.device, wide) if sides is None else sides
        locations = torch.addcmul(start, offsets, sides[:, None].expand(-1, points, -1).flatten())
    else:
        locations = start + offsets
    return locations.unflatten(3, (levels, points, 2))


def _box_offsets(reference: Tensor, offsets: Tensor, shapes: Shapes) -> Tensor:
    """Return the offsets (B, N, heads, levels, points, 2) from the centers of boxes in relative coordinates."""
    box = reference if reference.ndim == 4 else reference[..., None, :]
    box = box[..., None, :, None, :]  # (..., N, 1, levels or 1, 1, K)
    offsets = offsets * (box[..., 2:4] * (0.5 / offsets.shape[4]))
    if box.shape[-1] == 4:
        return offsets
    height, width = max(shapes, key=lambda shape: shape[0] * shape[1])
    cos, sin = box[..., 4].cos(), box[..., 4].sin()
    x, y = offsets.unbind(-1)
    return torch.stack((x * cos - y * sin * (height / width), x * sin * (width / height) + y * cos), dim=-1)


def _add(x: Tensor, position: Tensor | None) -> Tensor:
    return x if position is None else x + position
