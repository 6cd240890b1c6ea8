"""Changes of timm's Swin for dense prediction: shifted windows in every second block, and padding before shifting.

timm shifts maps before padding them, and does not shift maps that had the size of one window in classification. The
published weights of Mask2Former were trained with padding first, so that outputs would differ at sizes that are not
multiples of the window.
"""

import functools

import torch
from timm.models.swin_transformer import PatchMerging, SwinTransformer, SwinTransformerBlock
from torch import Tensor
from torch.nn import functional as F

from vislab.layers.recompute import recompute
from vislab.layers.tables import Tables


def use_dense_windows(model: torch.nn.Module) -> None:
    """Change a timm SwinTransformer in place; other models are unchanged."""
    if not isinstance(model, SwinTransformer):
        return
    tables = Tables()  # of all blocks: those of a stage have the same
    for module in model.modules():
        if isinstance(module, SwinTransformerBlock):
            size = tuple(module.attn.window_size)
            shifted = any(module.target_shift_size)
            module.shift_size = tuple(n // 2 for n in size) if shifted else (0, 0)
            module.forward = functools.partial(block, module, tables)
        elif isinstance(module, PatchMerging):
            module.forward = functools.partial(recompute, module.forward)


def block(self: SwinTransformerBlock, tables: Tables, x: Tensor) -> Tensor:
    """Apply a block to a map (B, H, W, C).

    Norms and activations, a third of the stored tensors, are recomputed in backward, which is cheap compared to the
    matrix products. Attention weights are stored, since they are smaller and twice as expensive.
    """
    x = x + self.drop_path1(window_attention(self, tables, x))
    mlp = self.mlp
    hidden = recompute(lambda x: mlp.fc1(self.norm2(x)), x)
    random = mlp.training and mlp.drop1.p > 0
    return x + self.drop_path2(mlp.drop2(recompute(lambda h: mlp.fc2(mlp.drop1(mlp.act(h))), hidden, random=random)))


def window_attention(self: SwinTransformerBlock, tables: Tables, x: Tensor) -> Tensor:
    """Apply norm and window attention of a block to a map (B, H, W, C)."""
    b, h, w, c = x.shape
    attn, (wh, ww), shift = self.attn, self.window_size, self.shift_size
    below, right = -h % wh, -w % ww
    rows, columns = (h + below) // wh, (w + right) // ww
    area, heads = wh * ww, attn.num_heads

    def project(x: Tensor) -> Tensor:
        """Return queries, keys and values (B, windows, area, 3 * C)."""
        x = self.norm1(x)
        if below or right:
            x = F.pad(x, (0, 0, 0, right, 0, below))
        if any(shift):
            x = x.roll((-shift[0], -shift[1]), dims=(1, 2))
        return attn.qkv(x.view(b, rows, wh, columns, ww, c).transpose(2, 3).reshape(b, rows * columns, area, c))

    qkv = recompute(project, x).view(b, rows * columns, area, 3, heads, -1).permute(3, 0, 1, 4, 2, 5)
    q, k, v = qkv.unbind(0)  # (B, windows, heads, area, d)
    bias = attn._get_rel_pos_bias()  # (1, heads, area, area)
    if any(shift):
        key = (h + below, w + right, (wh, ww), tuple(shift), x.device, bias.dtype)
        bias = bias + tables.get(lambda: _shift_mask(*key)[:, None], *key)  # (windows, heads, area, area)
    weights = torch.matmul(q * attn.scale, k.transpose(3, 4)) + bias
    out = torch.matmul(attn.attn_drop(weights.softmax(-1)), v)
    out = attn.proj_drop(attn.proj(out.transpose(2, 3).reshape(b, rows * columns, area, c)))
    x = out.view(b, rows, columns, wh, ww, c).transpose(2, 3).reshape(b, h + below, w + right, c)
    if any(shift):
        x = x.roll(tuple(shift), dims=(1, 2))
    return x[:, :h, :w]


def _shift_mask(height: int, width: int, window: tuple[int, int], shift: tuple[int, int], device, dtype) -> Tensor:
    """Return the attention mask (windows, area, area): 0 within a region, -inf between regions.

    The usual value of -100 leads to weights near 1e-44, which are ten times slower to multiply on a CPU than zeros.
    """
    (wh, ww), (below, right) = window, (window[0] - shift[0], window[1] - shift[1])
    rows, columns = height // wh, width // ww
    mask = torch.zeros(rows, columns, wh, ww, wh, ww, device=device, dtype=dtype)
    # the shift moves rows from the top below those of the last windows, and columns likewise
    mask[-1, :, :below, :, below:] = mask[-1, :, below:, :, :below] = float("-inf")
    mask[:, -1, :, :right, :, right:] = mask[:, -1, :, right:, :, :right] = float("-inf")
    return mask.view(rows * columns, wh * ww, wh * ww)
