"""Pixel decoder of Mask2Former: an encoder with deformable attention over three scales, and a map of stride 4.

The encoder can stop after any layer, without additional parameters. Options of PRO-SCALE (fewer tokens in early layers,
a lighter map at stride 4) are included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.layers.convolution import pointwise
from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.layers.layer_stack import run_layers, walk_layers
from vislab.layers.position import pixel_centers, sine_position
from vislab.layers.recompute import recompute
from vislab.layers.tables import Tables


@dataclass(frozen=True)
class Tokens:
    """Tokens (B, S, dim) of all levels, coarse to fine.

    Attributes:
        tokens: (B, S, dim).
        position: Position encodings (S, dim).
        centers: Pixel centers (S, 2).
        shapes: (height, width) of each level.
        sine: Sine encoding (h * w, dim) of each level.
    """

    tokens: Tensor
    position: Tensor
    centers: Tensor
    shapes: tuple[tuple[int, int], ...]
    sine: tuple[Tensor, ...]

    def count(self, levels: int) -> int:
        """Return the number of tokens of the `levels` coarsest levels."""
        return sum(h * w for h, w in self.shapes[:levels])

    def rows(self, rows: Tensor) -> "Tokens":
        """Return the tokens of some images, whose indices are int64 (N,)."""
        return replace(self, tokens=self.tokens[rows])


class PixelDecoder(nn.Module):
    """Encoder over maps of stride 32, 16 and 8, and a map of stride 4 for the prediction of masks.

    Args:
        in_channels: Channels of the backbone maps, fine to coarse (strides 4, 8, 16, 32).
        dim: Channels of the encoder.
        mask_dim: Channels of the map for masks.
        num_layers: Number of encoder layers; ignored if `stages` is set.
        num_heads, num_points, ffn_dim: Heads, points per head and level, and hidden channels of the layers.
        stages: PRO-SCALE: number of layers on the coarsest level, on two levels, and on all three. Default: all layers
            on all levels.
        recalibrate: PRO-SCALE: weight coarse tokens with the finest level before the first and second stage.
        light: PRO-SCALE: use max pooling instead of the 3x3 convolution at stride 4.
        norm_groups: Number of groups of the group norms. Default: groups of 8 channels. With one channel per group, the
            mean over tokens, which is the input of the gate of ECO-M2F, would not depend on the image.
    """

    def __init__(
        self,
        *,
        in_channels: Sequence[int],
        dim: int = 256,
        mask_dim: int = 256,
        num_layers: int = 6,
        num_heads: int = 8,
        num_points: int = 4,
        ffn_dim: int = 1024,
        stages: Sequence[int] | None = None,
        recalibrate: bool = False,
        light: bool = False,
        norm_groups: int | None = None,
    ) -> None:
        super().__init__()
        if len(in_channels) != 4:
            raise ConfigError(
                f"PixelDecoder: in_channels={tuple(in_channels)}; the backbone must have four maps of strides 4, 8, "
                "16, 32: choose them with out_indices"
            )
        if stages is not None and len(stages) != 3:
            raise ConfigError(f"PixelDecoder: stages={tuple(stages)}, expected three counts of layers")
        levels = [3] * num_layers if stages is None else [i + 1 for i, n in enumerate(stages) for _ in range(n)]
        if not levels or levels[-1] != 3:
            raise ConfigError("PixelDecoder: at least one layer must work on all three levels")
        self.num_layers = len(levels)
        groups = norm_groups or max(1, dim // 8)
        self.input_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, dim, 1), nn.GroupNorm(groups, dim)) for channels in in_channels[:0:-1]
        )
        self.level_embed = nn.Parameter(torch.randn(3, dim))
        self.tables = Tables()
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(dim=dim, num_heads=num_heads, num_levels=n, num_points=num_points, ffn_dim=ffn_dim)
            for n in levels
        )
        self.recalibration = nn.Linear(dim, 1) if recalibrate else None
        self.adapter = nn.Sequential(nn.Conv2d(in_channels[0], dim, 1, bias=False), nn.GroupNorm(groups, dim))
        merge = nn.MaxPool2d(3, 1, 1) if light else nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.merge = nn.Sequential(merge, nn.GroupNorm(groups, dim))
        self.mask_features = nn.Conv2d(dim, mask_dim, 1)
        for proj in self.input_proj:
            nn.init.xavier_uniform_(proj[0].weight)
            nn.init.zeros_(proj[0].bias)
        for module in (self.adapter[0], self.merge[0], self.mask_features):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def project(self, maps: Sequence[Tensor]) -> Tokens:
        """Convert the backbone maps, fine to coarse, to tokens."""
        pairs = zip(self.input_proj, maps[:0:-1], strict=True)
        coarse_to_fine = [norm(pointwise(conv, x)) for (conv, norm), x in pairs]
        shapes = tuple((x.shape[2], x.shape[3]) for x in coarse_to_fine)
        tokens = torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in coarse_to_fine], dim=1)
        device, dim = tokens.device, tokens.shape[2] // 2

        def make() -> tuple[Tensor, ...]:
            sine = (sine_position(h, w, dim=dim, device=device) for h, w in shapes)
            return *sine, pixel_centers(shapes, device=device)

        *sine, centers = self.tables.get(make, shapes, dim, device)
        position = [x + self.level_embed[i] for i, x in enumerate(sine)]
        return Tokens(tokens, torch.cat(position), centers, shapes, tuple(sine))

    def layer(self, state: Tokens, index: int) -> Tokens:
        """Apply layer `index` (0-based)."""
        layer = self.layers[index]
        if self.recalibration is not None and layer.num_levels < 3:
            first = index == 0 or self.layers[index - 1].num_levels < layer.num_levels
            state = self._recalibrate(state, layer.num_levels - 1) if first else state
        n = state.count(layer.num_levels)
        position, centers, shapes = state.position[:n], state.centers[:n], state.shapes[: layer.num_levels]
        if n == state.tokens.shape[1]:
            return replace(state, tokens=layer(state.tokens, position, centers, shapes))
        head = layer(state.tokens[:, :n], position, centers, shapes)
        return replace(state, tokens=torch.cat((head, state.tokens[:, n:]), dim=1))

    def walk(self, state: Tokens, exits: Sequence[int]) -> Iterator[tuple[int, Tokens]]:
        """Yield (k, tokens after k layers) for each k in `exits`, in increasing order; each layer runs once."""
        return walk_layers(state, self.layer, exits)

    def encode(self, state: Tokens, num_layers: int | Sequence[int] | Tensor | None = None) -> Tokens:
        """Return the tokens after `num_layers` layers, one number for the batch or one per image. Default: all layers.

        A tensor (B,) on an accelerator leads to a synchronization.
        """
        if num_layers is None:
            num_layers = self.num_layers
        depths = num_layers.tolist() if isinstance(num_layers, Tensor) else num_layers
        for k in [depths] if isinstance(depths, int) else depths:
            self.check_num_layers(k)
        return run_layers(state, self.layer, depths)

    def finish(self, state: Tokens, finest: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the map for masks (B, mask_dim, H/4, W/4) and the tokens of the three levels."""
        levels = list(state.tokens.split([h * w for h, w in state.shapes], dim=1))
        fine = levels[-1].unflatten(1, state.shapes[-1]).permute(0, 3, 1, 2)

        def merge(finest: Tensor, fine: Tensor) -> Tensor:
            up = F.interpolate(fine, size=finest.shape[-2:], mode="bilinear", align_corners=False)
            conv, norm = self.adapter
            return self.merge[0](norm(pointwise(conv, finest)) + up)

        # recompute the operations on these large maps, which are cheap except for the products; maps are channels-last
        merged = recompute(merge, finest, fine)
        return recompute(lambda x: pointwise(self.mask_features, F.relu(self.merge[1](x))), merged), levels

    def forward(
        self, maps: Sequence[Tensor], num_layers: int | Sequence[int] | Tensor | None = None
    ) -> tuple[Tensor, Tokens]:
        """Return the map for masks and the tokens after `num_layers` layers, for the maps of the backbone."""
        state = self.encode(self.project(maps), num_layers)
        return self.finish(state, maps[0])[0], state

    def check_num_layers(self, num_layers: int) -> int:
        if not 1 <= num_layers <= self.num_layers:
            raise ConfigError(f"num_layers={num_layers}: this encoder can stop after 1..{self.num_layers} layers")
        return num_layers

    def _recalibrate(self, state: Tokens, level: int) -> Tokens:
        (h, w), (fine_h, fine_w) = state.shapes[level], state.shapes[-1]
        start, stop = state.count(level), state.count(level + 1)
        fine = state.tokens[:, state.count(2) :].transpose(1, 2).unflatten(2, (fine_h, fine_w))
        seen = F.interpolate(fine, size=(h, w), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
        gain = torch.sigmoid(0.1 * self.recalibration(seen))  # (B, hw, 1); 0.1 is the published temperature
        tokens = state.tokens
        return replace(
            state, tokens=torch.cat((tokens[:, :start], tokens[:, start:stop] * gain, tokens[:, stop:]), dim=1)
        )
