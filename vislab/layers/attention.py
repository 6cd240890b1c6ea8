"""Multi-head attention with torch's scaled_dot_product_attention and a mask that is broadcast over the heads."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MultiheadAttention(nn.Module):
    """Multi-head attention with the parameter names of torch.nn.MultiheadAttention, batch first.

    The mask is broadcast over the heads instead of copied for each head.

    Args:
        dim: Channels of queries, keys, values and the output.
        num_heads: Number of heads, a divisor of `dim`.
    """

    def __init__(self, *, dim: int, num_heads: int) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim={dim} is not divisible by num_heads={num_heads}")
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend from a query (B, N, dim) to a key and a value (B, S, dim); returns (B, N, dim).

        `mask` is bool, True where a query may attend, broadcastable to (B, heads, N, S); no row may be all False.
        """
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        inputs = (query, key, value)
        parts = [F.linear(x, w, b) for x, w, b in zip(inputs, weights, biases, strict=True)]
        q, k, v = (
            x.unflatten(2, (self.num_heads, -1)).transpose(1, 2) for x in parts
        )  # (B, heads, N or S, dim / heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(out.transpose(1, 2).flatten(2))  # (B, N, dim)
