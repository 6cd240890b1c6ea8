"""Pooling of tokens to one vector by learned queries, for probes of frozen encoders.

Keys and values are linear in the tokens, so the projections are applied to the queries and to the pooled tokens instead
of to all tokens: the result is the same, and the cost per image no longer contains `tokens * dim * dim`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentivePool(nn.Module):
    """Cross-attention with one learned query over all tokens: (B, N, dim) -> (B, dim).

    The attentive probe of the CAE code: query initialized to zero, a LayerNorm each for query, keys and values, biases
    of queries and values but not of keys, no residual connection and no MLP.

    Args:
        dim: Channels of the tokens.
        num_heads: Number of heads, a divisor of `dim`.
        eps: Epsilon of the LayerNorms.
    """

    def __init__(self, *, dim: int, num_heads: int = 12, eps: float = 1e-6) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"dim={dim} is not divisible by num_heads={num_heads}")
        self.dim, self.out_dim, self.num_heads = dim, dim, num_heads
        self.query = nn.Parameter(torch.zeros(dim))
        self.norm_q, self.norm_k, self.norm_v = (nn.LayerNorm(dim, eps=eps) for _ in range(3))
        self.q, self.k = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.v, self.proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        for layer in (self.q, self.k, self.v, self.proj):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return one vector (B, dim) of each image's tokens (B, N, dim)."""
        split = (self.num_heads, self.dim // self.num_heads)
        query = self.q(self.norm_q(self.query)).view(split) * split[1] ** -0.5  # (heads, dim / heads)
        folded = torch.einsum("hc,hcd->hd", query, self.k.weight.view(*split, self.dim))  # (heads, dim)
        weights = (self.norm_k(tokens) @ folded.t()).softmax(dim=1)  # (B, N, heads), over the tokens
        pooled = weights.transpose(1, 2) @ self.norm_v(tokens)  # (B, heads, dim)
        values = torch.einsum("bhd,hcd->bhc", pooled, self.v.weight.view(*split, self.dim))
        return self.proj(values.flatten(1) + self.v.bias)  # (B, dim)


class EfficientPool(nn.Module):
    """Several learned queries that score the tokens directly, (B, N, dim) -> (B, out_dim).

    Efficient probing (arXiv 2506.10178): queries and keys are not projected; the weights of query j aggregate slice j
    of the projected values, and the slices are concatenated.

    Args:
        dim: Channels of the tokens.
        num_queries: Number of queries, a divisor of `out_dim`.
        out_dim: Channels of the values. Default: `dim`.
    """

    def __init__(self, *, dim: int, num_queries: int = 8, out_dim: int | None = None) -> None:
        super().__init__()
        self.dim, self.out_dim, self.num_queries = dim, out_dim or dim, num_queries
        if num_queries < 1 or self.out_dim % num_queries:
            raise ValueError(f"out_dim={self.out_dim} is not divisible by num_queries={num_queries}")
        self.queries = nn.Parameter(torch.empty(num_queries, dim))
        self.value = nn.Parameter(torch.empty(self.out_dim, dim))
        nn.init.trunc_normal_(self.queries, std=0.02)
        nn.init.xavier_uniform_(self.value)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return one vector (B, out_dim) of each image's tokens (B, N, dim)."""
        weights = F.softmax(tokens @ (self.queries * self.dim**-0.5).t(), dim=1)  # (B, N, queries), over the tokens
        pooled = weights.transpose(1, 2) @ tokens  # (B, queries, dim)
        slices = self.value.view(self.num_queries, -1, self.dim)  # (queries, out_dim / queries, dim)
        return torch.einsum("bqd,qcd->bqc", pooled, slices).flatten(1)  # (B, out_dim)
