"""A small CAE, images and masks for its tests; and the same model as slow loops over samples, with explicit softmax."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.models.encoders.vit import ViT
from vislab.structures import DataSample
from vislab.systems.cae import CAE

GRID = (3, 5)
SIDE = 4


def small_cae(*, dim: int = 16, regressor_dim: int = 16, **settings) -> CAE:
    """A model for images of 12x20 in a grid of 3x5, with 2 blocks in each part."""
    encoder = ViT(
        img_size=(GRID[0] * SIDE, GRID[1] * SIDE), patch_size=SIDE, dim=dim, depth=2, num_heads=2, init_values=0.5
    )
    parts = {
        "encoder": encoder,
        "regressor": {"dim": regressor_dim, "depth": 2, "num_heads": 4, "init_values": 0.5},
        "decoder": {"depth": 2, "num_heads": 2, "init_values": 0.5},
    }
    return CAE(**parts | settings)


def images(count: int) -> Tensor:
    """(count, 3, 12, 20), the same ones at every call."""
    return torch.randn(count, 3, GRID[0] * SIDE, GRID[1] * SIDE, generator=torch.Generator().manual_seed(0))


def masks(count: int, masked: int = 7, grid: tuple[int, int] = GRID) -> Tensor:
    """(count, h, w) bool with `masked` random places each, the same ones at every call."""
    order = torch.rand(count, grid[0] * grid[1], generator=torch.Generator().manual_seed(1)).argsort(dim=1)
    return (order.argsort(dim=1) < masked).view(count, *grid)


def samples(count: int, masked: int = 7) -> list[DataSample]:
    return [DataSample(patch_mask=mask) for mask in masks(count, masked)]


def perturb(model: nn.Module) -> None:
    """Give all parameters random values, so that no bias is 0 and no scale constant."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))


class SlowCAE:
    """The same computation, sample by sample: boolean indexing, softmax written out, every norm where it stands.

    It reads parameters of the given model; the target are normalized pixels.
    """

    def __init__(self, model: CAE) -> None:
        self.model = model

    def losses(self, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and alignment loss without their weights."""
        reconstruction, alignment, count = 0.0, 0.0, 0
        for image, mask in zip(images, masks.flatten(1), strict=True):
            visible = self.encode(image, ~mask)[1:]
            with torch.no_grad():
                target = self.adapt(self.encode(image, mask)[1:])
            latents = self.regress(self.adapt(visible), mask)
            prediction = self.decode(latents, mask)
            patches = self.cut(image)[mask]
            mean, variance = patches.mean(dim=1, keepdim=True), patches.var(dim=1, keepdim=True)
            labels = (patches - mean) / (variance + 1e-6).sqrt()
            reconstruction = reconstruction + ((prediction - labels) ** 2).mean(dim=1).sum()
            alignment = alignment + ((latents - target) ** 2).mean(dim=1).sum()
            count += int(mask.sum())
        return reconstruction / count, alignment / count

    def cut(self, image: Tensor) -> Tensor:
        h, w = GRID
        return torch.stack(
            [
                image[:, SIDE * i : SIDE * i + SIDE, SIDE * j : SIDE * j + SIDE].flatten()
                for i in range(h)
                for j in range(w)
            ]
        )

    def encode(self, image: Tensor, kept: Tensor) -> Tensor:
        encoder = self.model.encoder
        convolution = encoder.patch_embed.proj
        embedded = F.conv2d(image[None], convolution.weight, convolution.bias, stride=SIDE).flatten(2)[0].T
        x = (embedded + positions(*GRID, encoder.dim).to(image))[kept]
        x = torch.cat([encoder.cls_token[0], x])
        for block in encoder.blocks:
            x = self.block(block, x)
        return self.norm(encoder.norm, x)

    def adapt(self, x: Tensor) -> Tensor:
        adapter = self.model.regressor.adapter
        if isinstance(adapter, nn.Identity):
            return x
        return self.norm(adapter[1], x @ adapter[0].weight.T + adapter[0].bias)

    def regress(self, visible: Tensor, mask: Tensor) -> Tensor:
        regressor = self.model.regressor
        table = positions(*GRID, regressor.dim).to(visible)
        q = regressor.mask_token[0].expand(int(mask.sum()), -1)
        for block in regressor.blocks:
            kv = torch.cat([visible, q])
            place = torch.cat([table[~mask], table[mask]])
            attn = block.attn
            queries = self.norm(block.norm_q, q + table[mask]) @ attn.q.weight.T + attn.q_bias
            keys = self.norm(block.norm_k, kv + place) @ attn.k.weight.T
            values = self.norm(block.norm_v, kv) @ attn.v.weight.T + attn.v_bias
            out = softmax_attention(queries, keys, values, attn.num_heads)
            u = q + block.ls1.gamma * (out @ attn.proj.weight.T + attn.proj.bias)
            n = self.norm(block.norm2, u)
            q = n + block.ls2.gamma * self.mlp(block.mlp, n)
        return self.norm(regressor.norm, q)

    def decode(self, latents: Tensor, mask: Tensor) -> Tensor:
        decoder = self.model.decoder
        x = latents + positions(*GRID, latents.shape[1]).to(latents)[mask]
        for block in decoder.blocks:
            x = self.block(block, x)
        return self.norm(decoder.norm, x) @ decoder.head.weight.T + decoder.head.bias

    def block(self, block: nn.Module, x: Tensor) -> Tensor:
        attn = block.attn
        y = self.norm(block.norm1, x)
        weight_q, weight_k, weight_v = attn.qkv.weight.chunk(3)
        parts = y @ weight_q.T + attn.q_bias, y @ weight_k.T, y @ weight_v.T + attn.v_bias
        out = softmax_attention(*parts, attn.num_heads)
        x = x + block.ls1.gamma * (out @ attn.proj.weight.T + attn.proj.bias)
        return x + block.ls2.gamma * self.mlp(block.mlp, self.norm(block.norm2, x))

    def mlp(self, mlp: nn.Module, x: Tensor) -> Tensor:
        hidden = x @ mlp.fc1.weight.T + mlp.fc1.bias
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        return hidden @ mlp.fc2.weight.T + mlp.fc2.bias

    def norm(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        mean, variance = x.mean(dim=-1, keepdim=True), x.var(dim=-1, keepdim=True, unbiased=False)
        return (x - mean) / (variance + 1e-6).sqrt() * norm.weight + norm.bias


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """Attention of tokens (n, D), head by head."""
    width = q.shape[1] // num_heads
    heads = []
    for i in range(num_heads):
        part = slice(width * i, width * i + width)
        weights = (q[:, part] @ k[:, part].T / math.sqrt(width)).exp()
        heads.append(weights / weights.sum(dim=1, keepdim=True) @ v[:, part])
    return torch.cat(heads, dim=1)


def positions(h: int, w: int, dim: int) -> Tensor:
    """The sine table (h * w, dim) in a loop: sin and cos of the row, sin and cos of the column."""
    rows = []
    for y in range(h):
        for x in range(w):
            quarters = [
                [f(place * 10000.0 ** (-4 * k / dim)) for k in range(dim // 4)]
                for place in (y, x)
                for f in (math.sin, math.cos)
            ]
            rows.append([value for quarter in quarters for value in quarter])
    return torch.tensor(rows, dtype=torch.float64)
