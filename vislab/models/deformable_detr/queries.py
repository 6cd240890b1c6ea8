"""Queries of the decoder: learned, from the boxes of the first stage, or a mixture of both."""

import torch
from torch import Tensor, nn

from vislab.layers.tables import Tables
from vislab.models.deformable_detr.decoder import Queries, encode_boxes


class LearnedQueries(nn.Module):
    """`num_queries` learned embeddings of position and content, with a reference point predicted from the position."""

    def __init__(self, *, dim: int, num_queries: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(num_queries, 2 * dim)
        self.reference = nn.Linear(dim, 2)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)

    def forward(self, batch: int) -> Queries:
        """Return the queries of `batch` images."""
        position, content = self.embed.weight.chunk(2, dim=1)
        with torch.autocast(position.device.type, enabled=False):
            reference = self.reference(position).sigmoid()
        return Queries(*(x.expand(batch, -1, -1) for x in (content, reference, position)))


class BoxQueries(nn.Module):
    """Queries that start from boxes.

    Args:
        dim: Channels.
        num_queries: Number of queries.
        learned_content: Learn the content of each query (DINO) instead of computing content and position from its box.
    """

    def __init__(self, *, dim: int, num_queries: int, learned_content: bool = False) -> None:
        super().__init__()
        self.num_queries = num_queries
        self.content = nn.Embedding(num_queries, dim) if learned_content else None
        self.tables = Tables()
        self.from_box = None if learned_content else nn.Sequential(nn.Linear(2 * dim, 2 * dim), nn.LayerNorm(2 * dim))

    def forward(self, reference: Tensor) -> Queries:
        """Return queries for boxes (B, Q, 4) or (B, Q, 5), best first. Q may be below `num_queries` in small images."""
        reference = reference.detach()
        if self.from_box is None:
            return Queries(self.content.weight[: reference.shape[1]].expand(reference.shape[0], -1, -1), reference)
        linear = self.from_box[0]
        encoded = encode_boxes(reference[..., :4], linear.in_features // 4, self.tables).to(linear.weight.dtype)
        position, content = self.from_box(encoded).chunk(2, dim=2)
        return Queries(content, reference, position)
