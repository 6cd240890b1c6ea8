"""Latent contextual regressor and decoder of CAE (arXiv 2202.03026, section 3.1).

The regressor predicts the latents of the masked patches from those of the visible ones by cross-attention. The decoder
predicts the target from the predicted latents alone.

Normalizations are computed once where the official code repeats them: the visible latents are the same for all blocks,
and queries and keys of masked patches are normalized from the same sum. The affine part of each norm is multiplied into
the projection that follows it.
"""

import torch
from timm.layers import drop_path
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.layers.position import sincos_table
from vislab.models.encoders.vit import (
    NORM_EPS,
    Mlp,
    check_width,
    depth_rates,
    init_token,
    init_transformer,
    layer_scale,
    light,
    make_blocks,
    run_blocks,
    scaled_linear,
    split_heads,
)
from vislab.registry import MODELS


def normalize(x: Tensor) -> Tensor:
    """Return x (..., D) with mean 0 and variance 1 along the channels, without affine part."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_EPS)


def fold_norm(norm: nn.LayerNorm, linear: nn.Linear, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return weight and bias of `linear(norm(x)) + bias` as a function of `normalize(x)`."""
    shift = linear.weight @ norm.bias
    return linear.weight * norm.weight, shift if bias is None else shift + bias


class CrossAttention(nn.Module):
    """Parameters of the cross-attention: bias-free projections with biases of queries and values, none of keys."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=False)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.proj = nn.Linear(dim, dim)


class RegressorBlock(nn.Module):
    """Cross-attention from masked patches to visible and masked ones, then an MLP whose skip is normalized too.

    With q the masked stream, kv = [visible, q]: u = q + attention(norm_q(q + pos), norm_k(kv + pos), norm_v(kv)), and
    the output is n + mlp(n), n = norm2(u). The second residual starts at n, not at u.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        init_values: float | None,
        drop_path_rate: float,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.drop_path_rate, self.recompute = drop_path_rate, recompute
        self.norm_q = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm_k = nn.LayerNorm(dim, eps=NORM_EPS)
        self.norm_v = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = CrossAttention(dim, num_heads)
        self.ls1 = layer_scale(dim, init_values)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, mlp_ratio)
        self.ls2 = layer_scale(dim, init_values)

    def forward(self, masked: Tensor, position: Tensor, visible: Tensor, visible_placed: Tensor) -> Tensor:
        """Return the masked stream (B, M, D) after this block.

        Args:
            masked: (B, M, D), the masked stream.
            position: (B, M, D), positions of the masked patches.
            visible: (B, V, D), normalized latents of the visible patches.
            visible_placed: (B, V, D), normalized sums of these latents and their positions.
        """
        attn, dim = self.attn, masked.shape[2]
        to_q = fold_norm(self.norm_q, attn.q, attn.q_bias)
        to_k = fold_norm(self.norm_k, attn.k)
        to_v = fold_norm(self.norm_v, attn.v, attn.v_bias)
        # queries and keys of the masked patches in one product
        weight, bias = (torch.cat(parts) for parts in zip(to_q, to_k, strict=True))
        placed = light(lambda x: F.linear(normalize(x + position), weight, bias), masked, self.recompute)
        q, k = placed.split(dim, dim=2)  # (B, M, D) each
        v = light(lambda x: F.linear(normalize(x), *to_v), masked, self.recompute)
        k = torch.cat((F.linear(visible_placed, *to_k), k), dim=1)  # (B, V + M, D)
        v = torch.cat((F.linear(visible, *to_v), v), dim=1)
        q, k, v = (split_heads(x, attn.num_heads) for x in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (B, M, D)
        out = scaled_linear(out, attn.proj, self.ls1)
        x = self.norm2(masked + drop_path(out, self.drop_path_rate, self.training))
        return x + drop_path(self.mlp(x, self.ls2, again=self.recompute), self.drop_path_rate, self.training)


@MODELS.register_module()
class LatentRegressor(nn.Module):
    """Predicts the latents of the masked patches from the visible ones.

    Args:
        dim: Channels, a multiple of 4 and of `num_heads`.
        depth: Number of blocks.
        num_heads: Heads of the attention.
        mlp_ratio: Hidden channels of the MLPs relative to `dim`.
        init_values: Initial layer scale; None for none.
        drop_path_rate: Stochastic depth of the last block; it increases linearly from 0.
        recompute: Compute norms and GELU again in backward instead of storing their outputs.
        encoder_dim: Channels of the encoder; set by the model. If other than `dim`, a linear layer and a norm map the
            encoder's outputs to `dim`, and the alignment target with them.
        grid: Rows and columns of patches; set by the model.
        final_norm: Whether the prediction is normalized at the end; set by the model, False in the form of CAE v2.

    Raises:
        ConfigError: `dim` is not divisible by `num_heads`.
    """

    def __init__(
        self,
        *,
        dim: int = 768,
        depth: int = 4,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        init_values: float | None = 0.1,
        drop_path_rate: float = 0.0,
        recompute: bool = False,
        encoder_dim: int,
        grid: tuple[int, int],
        final_norm: bool = True,
    ) -> None:
        super().__init__()
        check_width("LatentRegressor", dim, num_heads)
        self.dim = dim
        self.adapter = nn.Identity()
        if encoder_dim != dim:
            self.adapter = nn.Sequential(nn.Linear(encoder_dim, dim), nn.LayerNorm(dim, eps=NORM_EPS))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.register_buffer("pos_embed", sincos_table(*grid, dim=dim), persistent=False)  # (h * w, dim)
        self.blocks = nn.ModuleList(
            RegressorBlock(
                dim=dim,
                num_heads=num_heads,
                mlp_ratio=mlp_ratio,
                init_values=init_values,
                drop_path_rate=rate,
                recompute=recompute,
            )
            for rate in depth_rates(depth, drop_path_rate)
        )
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS) if final_norm else nn.Identity()
        self.apply(init_transformer)
        init_token(self.mask_token)

    def positions(self, ids: Tensor) -> Tensor:
        """Return the positions (B, n, D) of the patches `ids` (B, n)."""
        return F.embedding(ids, self.pos_embed)

    def forward(self, visible: Tensor, ids_visible: Tensor, ids_masked: Tensor) -> Tensor:
        """Predict the latents (B, M, D) of the patches `ids_masked` (B, M).

        `visible` (B, V, D) are the adapted latents of the patches `ids_visible` (B, V), without the class token.
        """
        position = self.positions(ids_masked)
        placed = normalize(visible + self.positions(ids_visible))
        visible = normalize(visible)
        masked = self.mask_token.expand(*ids_masked.shape, -1)
        for block in self.blocks:
            masked = block(masked, position, visible, placed)
        return self.norm(masked)


@MODELS.register_module()
class LatentDecoder(nn.Module):
    """Predicts the target from the latents of masked patches alone.

    Args:
        depth: Number of blocks; 0 for a norm and a linear layer only.
        num_heads: Heads of the attention.
        mlp_ratio: Hidden channels of the MLPs relative to the width.
        init_values: Initial layer scale; None for none.
        drop_path_rate: Stochastic depth of the last block. Official runs use 0.1 here as in the encoder.
        recompute: Compute norms and GELU again in backward instead of storing their outputs.
        dim: Channels, those of the regressor; set by the model.
        out_channels: Channels of a prediction; set by the model.

    Raises:
        ConfigError: `dim` is not divisible by `num_heads`.
    """

    def __init__(
        self,
        *,
        depth: int = 4,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        init_values: float | None = 0.1,
        drop_path_rate: float = 0.0,
        recompute: bool = False,
        dim: int,
        out_channels: int,
    ) -> None:
        super().__init__()
        if depth:
            check_width("LatentDecoder", dim, num_heads)
        self.blocks = make_blocks(
            depth,
            drop_path_rate,
            dim=dim,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            init_values=init_values,
            recompute=recompute,
        )
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.head = nn.Linear(dim, out_channels)
        self.apply(init_transformer)

    def forward(self, latents: Tensor, position: Tensor) -> Tensor:
        """Return predictions (B, M, out_channels) of latents (B, M, D) at positions (B, M, D)."""
        if len(self.blocks):
            latents = run_blocks(self.blocks, latents + position, drop=True, recompute=False)
        return self.project(latents)

    def project(self, latents: Tensor) -> Tensor:
        """Return predictions (B, n, out_channels) of latents (B, n, D) without the blocks."""
        return self.head(self.norm(latents))
