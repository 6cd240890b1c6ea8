"""Transformer decoder of Mask2Former, with cross-attention masked by the predictions of the previous layer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.layers.attention import MultiheadAttention
from vislab.layers.mlp import MLP
from vislab.ops.choices import not_negative


class DecoderLayer(nn.Module):
    """Masked cross-attention, self-attention and feed-forward block, each with residual connection and post-norm."""

    def __init__(self, *, dim: int, num_heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.cross_attn = MultiheadAttention(dim=dim, num_heads=num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.self_attn = MultiheadAttention(dim=dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, ffn_dim)
        self.linear2 = nn.Linear(ffn_dim, dim)
        self.norm3 = nn.LayerNorm(dim)
        for layer in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, queries: Tensor, place: Tensor, memory: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        """Update queries (B, Q, dim).

        Args:
            queries: (B, Q, dim).
            place: Query embeddings (Q, dim), added to queries for attention.
            memory: (B, S, dim).
            keys: Memory with position encodings (B, S, dim).
            mask: (B, 1, Q, S) bool, True where a query may attend.
        """
        queries = self.norm1(queries + self.cross_attn(queries + place, keys, memory, mask))
        placed = queries + place
        queries = self.norm2(queries + self.self_attn(placed, placed, queries))
        return self.norm3(queries + self.linear2(F.relu(self.linear1(queries))))


class MaskDecoder(nn.Module):
    """Predicts classes and mask embeddings of `num_queries` queries, before the first layer and after each layer.

    Masks are the product of the embeddings (B, Q, mask_dim) and the map of stride 4, which is computed only where
    needed.

    Args:
        num_classes: Number of classes without "no object", which is the last one.
        num_queries: Number of queries.
        dim, mask_dim, num_heads, ffn_dim: Number of channels, mask embedding channels, heads and hidden channels.
        num_layers: Number of layers; layer i attends to level i mod 3, coarse to fine.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        num_queries: int = 100,
        dim: int = 256,
        mask_dim: int = 256,
        num_layers: int = 9,
        num_heads: int = 8,
        ffn_dim: int = 2048,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(dim=dim, num_heads=num_heads, ffn_dim=ffn_dim) for _ in range(num_layers)
        )
        self.query_feat = nn.Embedding(num_queries, dim)
        self.query_embed = nn.Embedding(num_queries, dim)
        self.level_embed = nn.Embedding(3, dim)
        self.norm = nn.LayerNorm(dim)
        self.class_embed = nn.Linear(dim, num_classes + 1)
        self.mask_embed = MLP(dim=dim, hidden_dim=dim, out_dim=mask_dim)

    def forward(
        self,
        mask_features: Tensor,
        levels: Sequence[Tensor],
        positions: Sequence[Tensor],
        shapes: Sequence[tuple[int, int]],
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Predict classes and mask embeddings.

        Args:
            mask_features: Map of stride 4 (B, mask_dim, H/4, W/4).
            levels: Three levels of tokens (B, S, dim), coarse to fine.
            positions: Position encoding of each level (S, dim).
            shapes: (height, width) of each level.

        Returns:
            num_layers + 1 class logits (B, Q, num_classes + 1) and mask embeddings (B, Q, mask_dim).
        """
        memory, keys, small = [], [], []
        for i, (tokens, position, (h, w)) in enumerate(zip(levels, positions, shapes, strict=True)):
            memory.append(tokens + self.level_embed.weight[i])
            keys.append(memory[-1] + position)
            # resizing a mask is the product with the resized map, so masks are not computed at full size
            resized = F.interpolate(mask_features.detach(), size=(h, w), mode="bilinear", align_corners=False)
            small.append(resized.flatten(2))
        queries = self.query_feat.weight.repeat(mask_features.shape[0], 1, 1)
        place = self.query_embed.weight
        classes, embeddings = [], []
        for i in range(len(self.layers) + 1):
            normed = self.norm(queries)
            classes.append(self.class_embed(normed))
            embeddings.append(self.mask_embed(normed))
            if i < len(self.layers):
                level = i % 3
                mask = _where_masked(embeddings[-1].detach(), small[level])
                queries = self.layers[i](queries, place, memory[level], keys[level], mask)
        return classes, embeddings


def _where_masked(embeddings: Tensor, features: Tensor) -> Tensor:
    """Return the attention mask (B, 1, Q, S) bool for embeddings (B, Q, D) and features (B, D, S).

    True where the mask probability is at least 0.5, and everywhere for empty masks.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(embeddings.dtype, features.dtype), torch.float32)
        mask = not_negative(torch.bmm(embeddings.to(wide), features.to(wide)))
    return (mask | ~mask.any(dim=2, keepdim=True))[:, None]
