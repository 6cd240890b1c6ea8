"""Encoder of Deformable DETR: deformable self-attention over the tokens of all levels."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn

from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.layers.layer_stack import run_layers, walk_layers
from vislab.models.deformable_detr.neck import Levels


class DeformableEncoder(nn.Module):
    """Stack of `num_layers` encoder layers, in which each token attends to points around its own center.

    It can stop after any layer, as the encoder of Mask2Former.

    Args:
        dim: Channels.
        num_levels: Number of levels.
        num_layers, num_heads, num_points, ffn_dim, dropout: See DeformableEncoderLayer.
    """

    def __init__(
        self,
        *,
        dim: int = 256,
        num_levels: int = 4,
        num_layers: int = 6,
        num_heads: int = 8,
        num_points: int = 4,
        ffn_dim: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DeformableEncoderLayer(
                dim=dim,
                num_heads=num_heads,
                num_levels=num_levels,
                num_points=num_points,
                ffn_dim=ffn_dim,
                dropout=dropout,
            )
            for _ in range(num_layers)
        )

    def forward(self, levels: Levels, num_layers: int | Sequence[int] | None = None) -> Tensor:
        """Return the memory (B, S, dim); its values at padding have no meaning.

        Args:
            levels: Levels of the neck.
            num_layers: Number of layers for the batch, or one for each image. Default: all.
        """
        count = len(self.layers) if num_layers is None else num_layers
        return run_layers(self._on_maps(levels), self._layer, count).tokens

    def walk(self, levels: Levels, exits: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        """Yield (k, memory after k layers) for each k in `exits`, in increasing order; each layer runs once."""
        for k, state in walk_layers(self._on_maps(levels), self._layer, exits):
            yield k, state.tokens

    def _layer(self, state: Levels, index: int) -> Levels:
        layer = self.layers[index]
        return replace(state, tokens=layer(state.tokens, state.position, state.centers, state.shapes, state.mask))

    @staticmethod
    def _on_maps(levels: Levels) -> Levels:
        """Return the levels with centers on each padded map, (B, S, levels, 2), if there is padding."""
        return levels if levels.ratios is None else replace(levels, centers=levels.on_maps(levels.centers))
