"""Vision transformer that encodes all patches of an image or a subset of them, as masked pre-training needs.

Pre-norm blocks with layer scale, biases of queries and values but not of keys (BEiT, arXiv 2106.08254, 2.3), and fixed
sine positions. Modules that exist in timm's VisionTransformer have its names.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.layers import RelPosBias, drop_path
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vislab.errors import CheckpointError, ConfigError
from vislab.layers.convolution import PatchConv2d
from vislab.layers.position import sincos_table
from vislab.layers.recompute import recompute
from vislab.ops.patches import patchify, take_rows
from vislab.registry import MODELS

NORM_EPS = 1e-6
INIT_STD = 0.02

Map = Callable[[Tensor], Tensor]


class LayerScale(nn.Module):
    """A factor per channel on the output of a linear layer."""

    def __init__(self, dim: int, init: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), init))

    def fold(self, linear: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return weight and bias of `gamma * linear(x)`."""
        return self.gamma[:, None] * linear.weight, self.gamma * linear.bias


def unchanged(x: Tensor) -> Tensor:
    return x


def light(function: Map, x: Tensor, again: bool) -> Tensor:
    """Return `function(x)`; with `again`, backward repeats it up to its last linear layer instead of storing it."""
    return recompute(function, x) if again else function(x)


def scaled_linear(
    x: Tensor,
    linear: nn.Linear,
    scale: LayerScale | None,
    before: Map = unchanged,
    again: bool = False,
) -> Tensor:
    """Return `scale.gamma * linear(before(x))`, without the factor if `scale` is None; see `light` for `again`.

    The factor is multiplied into the smaller of activations and weights.
    """
    folded = scale is not None and (torch.compiler.is_exporting() or x.shape[:-1].numel() > linear.in_features)
    weight, bias = scale.fold(linear) if folded else (linear.weight, linear.bias)
    out = light(lambda x: F.linear(before(x), weight, bias), x, again)
    return out if folded or scale is None else scale.gamma * out


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Return x (B, N, dim) as (B, heads, N, dim / heads)."""
    return x.unflatten(2, (num_heads, -1)).transpose(1, 2)


def check_width(owner: str, dim: int, num_heads: int) -> None:
    """Raise ConfigError unless `dim` is divisible by `num_heads` and by 4."""
    if num_heads < 1 or dim % num_heads:
        raise ConfigError(f"{owner}: dim={dim} is not divisible by num_heads={num_heads}")
    if dim % 4:
        raise ConfigError(f"{owner}: dim={dim} is not divisible by 4, as sine positions of two coordinates need")


def layer_scale(dim: int, init: float | None) -> LayerScale | None:
    return None if init is None else LayerScale(dim, init)


class Mlp(nn.Module):
    """Linear, GELU, linear, times a layer scale."""

    def __init__(self, dim: int, ratio: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, int(dim * ratio))
        self.fc2 = nn.Linear(int(dim * ratio), dim)

    def forward(self, x: Tensor, scale: LayerScale | None, norm: Map = unchanged, again: bool = False) -> Tensor:
        """Return the output for norm(x), (B, N, dim); see `light` for `again`."""
        hidden = light(lambda x: self.fc1(norm(x)), x, again)
        return scaled_linear(hidden, self.fc2, scale, F.gelu, again)


class Attention(nn.Module):
    """Self-attention with one projection to queries, keys and values; keys have no bias.

    With the (h, w) of a grid, a bias for each head and relative position is added to the scores of all 1 + h * w
    tokens; it starts at zero (BEiT).
    """

    def __init__(self, dim: int, num_heads: int, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim))
        self.v_bias = nn.Parameter(torch.zeros(dim))
        self.register_buffer("k_bias", torch.zeros(dim), persistent=False)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos = None
        if grid is not None:
            self.rel_pos = RelPosBias(window_size=grid, num_heads=num_heads, prefix_tokens=1)
            nn.init.zeros_(self.rel_pos.relative_position_bias_table)

    def forward(self, x: Tensor, scale: LayerScale | None, norm: Map = unchanged, again: bool = False) -> Tensor:
        """Return the output for norm(x), (B, N, dim), times the layer scale; see `light` for `again`."""
        qkv_bias = torch.cat((self.q_bias, self.k_bias, self.v_bias))
        qkv = light(lambda x: F.linear(norm(x), self.qkv.weight, qkv_bias), x, again)
        q, k, v = (split_heads(part, self.num_heads) for part in qkv.chunk(3, dim=2))  # (B, heads, N, dim / heads)
        bias = None if self.rel_pos is None else self.rel_pos.get_bias().to(q.dtype)  # (1, heads, N, N)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)  # (B, N, dim)
        return scaled_linear(out, self.proj, scale)


class Block(nn.Module):
    """Attention and MLP, each of the normalized input, with layer scale, stochastic depth and a residual.

    Args:
        dim: Channels.
        num_heads: Heads of the attention.
        mlp_ratio: Hidden channels of the MLP relative to `dim`.
        init_values: Initial layer scale; None for none.
        drop_path_rate: Probability of skipping a branch for a sample.
        grid: Grid (h, w) of the patches for a relative position bias; see Attention.
        recompute: Compute norms and GELU again in backward instead of storing their outputs.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        init_values: float | None,
        drop_path_rate: float,
        grid: tuple[int, int] | None = None,
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.drop_path_rate, self.recompute = drop_path_rate, recompute
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, num_heads, grid)
        self.ls1 = layer_scale(dim, init_values)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, mlp_ratio)
        self.ls2 = layer_scale(dim, init_values)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args: Any) -> None:
        # a layer scale without a place would be left out with a warning only, and change the outputs
        if self.ls1 is None and f"{prefix}ls1.gamma" in state_dict:
            raise CheckpointError(
                f"the weights have layer scales, e.g. {prefix}ls1.gamma, the model has none: set init_values, such as "
                "0.1; the values come from the file"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, x: Tensor, drop: bool = True) -> Tensor:
        """Map tokens (B, N, dim) to (B, N, dim); `drop=False` disables stochastic depth in training."""
        drop = drop and self.training
        x = x + drop_path(self.attn(x, self.ls1, self.norm1, self.recompute), self.drop_path_rate, drop)
        return x + drop_path(self.mlp(x, self.ls2, self.norm2, self.recompute), self.drop_path_rate, drop)


def make_blocks(depth: int, drop_path_rate: float, **settings) -> nn.ModuleList:
    """Return `depth` blocks with stochastic depth from 0 to `drop_path_rate`."""
    return nn.ModuleList(Block(drop_path_rate=rate, **settings) for rate in depth_rates(depth, drop_path_rate))


def depth_rates(depth: int, last: float) -> list[float]:
    """Return `depth` rates that increase linearly from 0 to `last`."""
    return [last * i / max(depth - 1, 1) for i in range(depth)]


def run_blocks(blocks: nn.ModuleList, x: Tensor, *, drop: bool, recompute: bool) -> Tensor:
    """Apply the blocks; with `recompute`, backward computes their activations again instead of storing them."""
    for block in blocks:
        if recompute and torch.is_grad_enabled():
            x = checkpoint(block, x, drop, use_reentrant=False)
        else:
            x = block(x, drop)
    return x


def init_transformer(module: nn.Module) -> None:
    """Initialize a layer as CAE's code does, for `Module.apply`: Xavier for linear layers, +-0.02 for patches."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        init_token(module.weight)
        nn.init.zeros_(module.bias)


def init_token(token: Tensor, std: float = INIT_STD) -> None:
    """Draw from a normal distribution of standard deviation `std`, truncated at one deviation; in place."""
    nn.init.trunc_normal_(token, std=std, a=-std, b=std)


class PatchEmbed(nn.Module):
    """Linear embedding of patches (B, n, C * p * p) to (B, n, dim), with the weights of a convolution as in timm."""

    def __init__(self, in_channels: int, patch_size: int, dim: int) -> None:
        super().__init__()
        self.proj = PatchConv2d(in_channels, dim, patch_size)

    def forward(self, patches: Tensor) -> Tensor:
        return self.proj(patches)


@MODELS.register_module()
class ViT(nn.Module):
    """Vision transformer from images, or some of their patches, to tokens; token 0 is the class token.

    Args:
        img_size: Side or (height, width) of the images.
        patch_size: Side of a patch.
        in_channels: Channels of the images.
        dim: Channels of the tokens, a multiple of 4 and of `num_heads`.
        depth: Number of blocks.
        num_heads: Heads of the attention. CAE has 12 for widths 192, 384 and 768, and 16 for 1024.
        mlp_ratio: Hidden channels of the MLPs relative to `dim`.
        init_values: Initial layer scale; None for none.
        drop_path_rate: Stochastic depth of the last block; it increases linearly from 0.
        rel_pos_bias: Add a learned bias by relative position to the attention of each block, zero at the start, for
            fine-tuning as published. Subsets of patches are then not supported.
        grad_checkpointing: Compute whole blocks again in backward instead of storing their activations.
        recompute: Compute norms and GELU again in backward, which needs a third less memory.
        patch_std: Initial weights of the patch embedding; see `init_token`. The published 0.02 is for the 768 values of
            a patch of 16 pixels. Smaller patches need more, 0.02 * 16 / patch_size for the same output, or else their
            content is small beside the positions, which training has to correct first.

    Attributes:
        grid: Rows and columns of patches (h, w).
        num_patches: h * w.
        pos_embed: (1, 1 + h * w, dim), the fixed positions, zero for the class token. Not in the state dict.

    Raises:
        ConfigError: The image is not divisible into patches, or `dim` into heads or quarters.
    """

    def __init__(
        self,
        *,
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        init_values: float | None = None,
        drop_path_rate: float = 0.0,
        rel_pos_bias: bool = False,
        grad_checkpointing: bool = False,
        recompute: bool = False,
        patch_std: float = INIT_STD,
    ) -> None:
        super().__init__()
        self.img_size = (img_size, img_size) if isinstance(img_size, int) else tuple(img_size)
        if patch_size < 1 or any(side < 1 or side % patch_size for side in self.img_size):
            raise ConfigError(
                f"ViT: img_size={self.img_size} is not divisible by patch_size={patch_size}: choose multiples of it"
            )
        check_width("ViT", dim, num_heads)
        if depth < 1:
            raise ConfigError(f"ViT: depth={depth}: at least one block")
        if not patch_std > 0:
            raise ConfigError(f"ViT: patch_std={patch_std} is not above 0")
        self.patch_size, self.in_channels, self.dim = patch_size, in_channels, dim
        self.grid = (self.img_size[0] // patch_size, self.img_size[1] // patch_size)
        self.num_patches = self.grid[0] * self.grid[1]
        self.rel_pos_bias, self.grad_checkpointing = rel_pos_bias, grad_checkpointing
        self.patch_embed = PatchEmbed(in_channels, patch_size, dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        positions = F.pad(sincos_table(*self.grid, dim=dim), (0, 0, 1, 0))  # (1 + h * w, dim)
        self.register_buffer("pos_embed", positions[None], persistent=False)
        self.blocks = make_blocks(
            depth,
            drop_path_rate,
            dim=dim,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            init_values=init_values,
            grid=self.grid if rel_pos_bias else None,
            recompute=recompute,
        )
        self.norm = nn.LayerNorm(dim, eps=NORM_EPS)
        self.apply(init_transformer)
        init_token(self.patch_embed.proj.weight, patch_std)
        init_token(self.cls_token)

    def forward(self, images: Tensor, ids: Tensor | None = None) -> Tensor:
        """Encode images (B, C, H, W), or of each the patches `ids` (B, n), to (B, 1 + n, dim) after the final norm.

        `ids` are int64 indices in raster order; without them all h * w patches are encoded.
        """
        patches = self.patches(images)
        return self.norm(self.encode(patches if ids is None else take_rows(patches, ids), ids))

    def patches(self, images: Tensor) -> Tensor:
        """Return the patches (B, h * w, C * p * p) of images (B, C, H, W).

        Raises:
            ConfigError: The images have another size than `img_size`.
        """
        if tuple(images.shape[1:]) != (self.in_channels, *self.img_size):
            raise ConfigError(
                f"ViT: images are {tuple(images.shape[1:])}, expected {(self.in_channels, *self.img_size)} (channels, "
                "height, width): resize them in the pipeline or set img_size and in_channels"
            )
        return patchify(images, self.patch_size)

    def encode(self, patches: Tensor, ids: Tensor | None = None, drop: bool = True) -> Tensor:
        """Encode patches (B, n, C * p * p) at the places `ids` (B, n) to (B, 1 + n, dim), before the final norm.

        `drop=False` disables stochastic depth in training.

        Raises:
            ConfigError: A subset of patches with rel_pos_bias.
        """
        if ids is not None and self.rel_pos_bias:
            raise ConfigError("ViT: rel_pos_bias=True is for whole images, not for subsets of patches: set it to False")
        x = self.embed(patches, ids)
        return run_blocks(self.blocks, x, drop=drop, recompute=self.grad_checkpointing)

    def embed(self, patches: Tensor, ids: Tensor | None = None) -> Tensor:
        """Return the class token and the embedded patches with their positions, (B, 1 + n, dim)."""
        table = self.pos_embed[0, 1:]
        x = self.patch_embed(patches) + (table if ids is None else F.embedding(ids, table))
        return torch.cat((self.cls_token.expand(x.shape[0], -1, -1).to(x.dtype), x), dim=1)

    def layer_ids(self) -> dict[str, int]:
        """Return the depth of parameters for layer-wise learning rates: 0 = embedding, i + 1 = block i.

        The final norm is not in it: it has the full rate, as the head in BEiT and CAE.
        """
        ids = {}
        for name, _ in self.named_parameters():
            first, _, rest = name.partition(".")
            if first != "norm":
                ids[name] = 1 + int(rest.split(".")[0]) if first == "blocks" else 0
        return ids
