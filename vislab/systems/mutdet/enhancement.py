"""Mutual enhancement of object embeddings and features of the detector (MutDet, section 3.2)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.layers.attention import MultiheadAttention
from vislab.layers.mlp import MLP


class EnhancementLayer(nn.Module):
    """Objects attend to each other and to the features, then the features attend to the objects; all post-norm."""

    def __init__(self, *, dim: int, num_heads: int, hidden_dim: int) -> None:
        super().__init__()
        self.self_attn = MultiheadAttention(dim=dim, num_heads=num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.from_features = MultiheadAttention(dim=dim, num_heads=num_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim=dim, hidden_dim=hidden_dim, out_dim=dim, num_layers=2)
        self.norm3 = nn.LayerNorm(dim)
        self.from_objects = MultiheadAttention(dim=dim, num_heads=num_heads)
        self.norm4 = nn.LayerNorm(dim)

    def forward(
        self, objects: Tensor, features: Tensor, object_keys: Tensor, feature_keys: Tensor | None, present: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Update objects (B, T, dim) and features (B, S, dim).

        `object_keys` (B, 1, 1, T) and `feature_keys` (B, 1, 1, S) are True for what may be attended to, and `present`
        (B, 1, 1) is 0 for images without objects, whose features are only normalized.
        """
        objects = self.norm1(objects + self.self_attn(objects, objects, objects, object_keys))
        objects = self.norm2(objects + self.from_features(objects, features, features, feature_keys))
        objects = self.norm3(objects + self.mlp(objects))
        seen = self.from_objects(features, objects, objects, object_keys) * present.to(features.dtype)
        return objects, self.norm4(features + seen)


class MutualEnhancement(nn.Module):
    """Enhances embeddings of objects and features of the encoder with each other, without positions.

    Images with different numbers of objects are padded and masked; the result for each image is the same as alone.

    Args:
        dim: Channels of objects and features.
        depth: Number of layers.
        num_heads: Heads of the attentions.
        hidden_dim: Hidden channels of the MLP of a layer.
        embed_dim: Hidden channels of `embed`.
    """

    def __init__(
        self, *, dim: int = 256, depth: int = 3, num_heads: int = 8, hidden_dim: int = 2048, embed_dim: int = 1024
    ) -> None:
        super().__init__()
        self.input = nn.Linear(dim, dim)
        self.input_norm = nn.LayerNorm(dim)
        self.layers = nn.ModuleList(
            EnhancementLayer(dim=dim, num_heads=num_heads, hidden_dim=hidden_dim) for _ in range(depth)
        )
        self.embed = MLP(dim=dim, hidden_dim=embed_dim, out_dim=dim, num_layers=2)

    def forward(
        self, objects: Tensor, filled: Tensor, memory: Tensor, valid: Tensor, inside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the enhanced objects (B, T, dim) and features (B, S, dim).

        Args:
            objects: (B, T, dim).
            filled: (B, T) bool, False for padding.
            memory: (B, S, dim).
            valid: (B or 1, S, 1) bool, False for features that are set to 0.
            inside: (B, S) bool, False at padding of the images, which is not attended to. None: no padding.
        """
        count = objects.shape[1]
        if not count:  # attention needs a key
            objects, filled = F.pad(objects, (0, 0, 0, 1)), F.pad(filled, (0, 1))
        features = self.input_norm(self.input(memory.masked_fill(~valid, 0)))
        present = filled.any(1)  # (B,)
        first = torch.arange(filled.shape[1], device=filled.device) == 0
        object_keys = (filled | (first & ~present[:, None]))[:, None, None]  # (B, 1, 1, T), never all False
        feature_keys = None if inside is None else inside[:, None, None]
        for layer in self.layers:
            objects, features = layer(objects, features, object_keys, feature_keys, present[:, None, None])
        return objects[:, :count], features


def similarity(embeddings: Tensor, objects: Tensor, filled: Tensor) -> Tensor:
    """Return the largest cosine (B, S) of embeddings (B, S, dim) with the objects (B, T, dim) of the image.

    It is 0 for images without objects. `filled` (B, T) is False for padding. Computed in float32 or float64.
    """
    if not objects.shape[1]:
        return embeddings.new_zeros(embeddings.shape[:2])
    with torch.autocast(embeddings.device.type, enabled=False):
        a, b = (F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1) for x in (embeddings, objects))
        cosine = (a @ b.transpose(1, 2)).masked_fill(~filled[:, None], -torch.inf)  # (B, S, T)
        best = cosine.amax(-1)
    return best.where(filled.any(1, keepdim=True), 0)


def proposal_scores(objectness: Tensor, cosine: Tensor, kind: str) -> Tensor:
    """Return scores (B, S) of tokens from objectness logits x and cosines c (B, S).

    `kind` is "monotone" for sigmoid(x) (1 + c) / 2 or "published" for x c, in which a larger cosine lowers the score of
    a negative logit.
    """
    return objectness * cosine if kind == "published" else objectness.sigmoid() * (1 + cosine) / 2
