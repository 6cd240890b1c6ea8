"""Maps of the backbone as tokens of one width, with positions, and padding left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.layers.convolution import pointwise
from vislab.layers.position import pixel_centers, sine_position
from vislab.layers.tables import Tables
from vislab.models.deformable_detr.refinement import wide


@dataclass(frozen=True)
class Levels:
    """Tokens (B, S, dim) of all levels, fine to coarse, and where they are.

    Attributes:
        tokens: (B, S, dim).
        position: Position encodings, (S, dim) or (B, S, dim).
        centers: Centers of the tokens in relative coordinates of the image without padding, (S, 2) or (B, S, 2).
        shapes: (height, width) of each level.
        mask: (B, S) bool, False at padding. None if there is none, as are the following.
        ratios: (B, levels, 2), part of the width and height of each map that is not padding.
    """

    tokens: Tensor
    position: Tensor
    centers: Tensor
    shapes: tuple[tuple[int, int], ...]
    mask: Tensor | None = None
    ratios: Tensor | None = None

    def rows(self, rows: Tensor) -> "Levels":
        """Return the levels of some images, whose indices are int64 (N,)."""
        if self.mask is None:
            return replace(self, tokens=self.tokens[rows])
        parts = ("tokens", "position", "centers", "mask", "ratios")
        return replace(self, **{name: getattr(self, name)[rows] for name in parts})

    def on_maps(self, reference: Tensor) -> Tensor:
        """Return references (B, Q, K) in relative coordinates of each padded map, (B, Q, levels, K).

        K is 2 for points, 4 for boxes and 5 for rotated boxes. Without padding, they are returned as they are.
        """
        if self.ratios is None:
            return reference
        sides = min(reference.shape[-1], 4)
        ratios = self.ratios.repeat(1, 1, sides // 2)[:, None]  # (B, 1, levels, 2 or 4)
        scaled = reference[:, :, None, :sides] * ratios
        if reference.shape[-1] < 5:
            return scaled
        theta = reference[:, :, None, 4:].expand(*scaled.shape[:-1], 1)
        return torch.cat((scaled, theta), dim=-1)


class Neck(nn.Module):
    """Converts maps of a backbone to levels of `dim` channels by 1x1 convolutions, and adds coarser levels.

    Args:
        in_channels: Channels of the maps, fine to coarse.
        dim: Channels of the levels; a multiple of 4 and of `norm_groups`.
        num_levels: Number of levels. Levels beyond the maps are made by 3x3 convolutions of stride 2, the first one
            from the coarsest map and each other one from the level before.
        norm_groups: Number of groups of the group norms.
    """

    def __init__(
        self, *, in_channels: Sequence[int], dim: int = 256, num_levels: int = 4, norm_groups: int = 32
    ) -> None:
        super().__init__()
        if num_levels < len(in_channels):
            raise ConfigError(
                f"Neck: num_levels={num_levels}, but the backbone has {len(in_channels)} maps: choose them with "
                "out_indices"
            )
        if dim % 4 or dim % norm_groups:
            raise ConfigError(f"Neck: dim={dim} must be a multiple of 4 and of norm_groups={norm_groups}")
        self.num_maps, self.num_levels = len(in_channels), num_levels
        extra = [in_channels[-1], *[dim] * num_levels][: num_levels - len(in_channels)]
        convs = [nn.Conv2d(c, dim, 1) for c in in_channels] + [nn.Conv2d(c, dim, 3, 2, 1) for c in extra]
        for conv in convs:
            nn.init.xavier_uniform_(conv.weight)
            nn.init.zeros_(conv.bias)
        self.input_proj = nn.ModuleList(nn.Sequential(conv, nn.GroupNorm(norm_groups, dim)) for conv in convs)
        self.level_embed = nn.Parameter(torch.randn(num_levels, dim))
        self.tables = Tables()

    def forward(
        self, maps: Sequence[Tensor], sizes: Sequence[tuple[int, int]] | None, padded: tuple[int, int]
    ) -> Levels:
        """Return the levels.

        Args:
            maps: Maps of the backbone, fine to coarse.
            sizes: (height, width) of each image in pixels, without padding. None: no image is padded.
            padded: (height, width) of the batch in pixels.
        """
        levels = [norm(pointwise(conv, x)) for (conv, norm), x in zip(self.input_proj, maps, strict=False)]
        last = maps[-1]
        for conv, norm in self.input_proj[self.num_maps :]:
            last = norm(conv(last))
            levels.append(last)
        shapes = tuple((x.shape[2], x.shape[3]) for x in levels)
        tokens = torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in levels], dim=1)  # (B, S, dim)
        kind = {"device": tokens.device, "dtype": wide(tokens[:0]).dtype}
        valid = None
        if any(tuple(size) != tuple(padded) for size in sizes or ()):
            valid = torch.tensor([_valid(shape, sizes, padded) for shape in shapes])
            valid = valid.to(tokens.device, non_blocking=True)  # (levels, B, 2)
        *sine, centers = self._positions(shapes, valid, tuple(kind.items()))
        position = [x + self.level_embed[i] for i, x in enumerate(sine)]
        if valid is None:
            return Levels(tokens, torch.cat(position, -2), centers, shapes)
        ratios, mask, parts = [], [], centers.split([h * w for h, w in shapes])
        placed = []
        for (h, w), count, part in zip(shapes, valid, parts, strict=True):
            rows = torch.arange(h, device=tokens.device) < count[:, :1]  # (B, h)
            columns = torch.arange(w, device=tokens.device) < count[:, 1:]
            mask.append((rows[:, :, None] & columns[:, None]).flatten(1))
            count = count.to(kind["dtype"])
            ratios.append(torch.stack((count[:, 1] / w, count[:, 0] / h), dim=1))  # (B, 2)
            placed.append(part / ratios[-1][:, None])
        return Levels(
            tokens, torch.cat(position, -2), torch.cat(placed, 1), shapes, torch.cat(mask, 1), torch.stack(ratios, 1)
        )

    def _positions(
        self, shapes: tuple[tuple[int, int], ...], valid: Tensor | None, kind: tuple[tuple[str, Any], ...]
    ) -> tuple[Tensor, ...]:
        """Return the position encodings of each level and the centers of all."""
        settings = dict(kind)

        def sine() -> tuple[Tensor, ...]:
            ends = [None] * len(shapes) if valid is None else valid
            dim = self.level_embed.shape[1] // 2
            sizes = zip(shapes, ends, strict=True)
            return tuple(sine_position(h, w, dim=dim, offset=-0.5, valid=end, **settings) for (h, w), end in sizes)

        encodings = sine() if valid is not None else self.tables.get(sine, "sine", shapes, kind)
        return *encodings, self.tables.get(lambda: pixel_centers(shapes, **settings), "centers", shapes, kind)


def _valid(shape: tuple[int, int], sizes: Sequence[tuple[int, int]], padded: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the numbers of rows and columns of a map whose nearest pixel belongs to the image, at least 1."""
    counts = []
    for size in sizes:
        pair = []
        for cells, inside, full in zip(shape, size, padded, strict=True):
            # cell i takes pixel floor(i * full / cells), as nearest interpolation does
            pair.append(max(1, sum(i * full // cells < inside for i in range(cells))))
        counts.append(tuple(pair))
    return counts
