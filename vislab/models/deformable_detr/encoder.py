"""Encoder of Deformable DETR: deformable self-attention over the tokens of all levels."""

from torch import Tensor, nn

from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.models.deformable_detr.neck import Levels


class DeformableEncoder(nn.Module):
    """Stack of `num_layers` encoder layers, in which each token attends to points around its own center.

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

    def forward(self, levels: Levels) -> Tensor:
        """Return the memory (B, S, dim); its values at padding have no meaning."""
        tokens, centers = levels.tokens, levels.centers
        if levels.ratios is not None:
            centers = levels.on_maps(centers)  # (B, S, levels, 2)
        for layer in self.layers:
            tokens = layer(tokens, levels.position, centers, levels.shapes, levels.mask)
        return tokens
