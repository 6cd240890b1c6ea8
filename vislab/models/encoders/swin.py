"""timm's Swin as dense prediction uses it: windows in every block shifted, whatever size the model was made for, and
maps padded before they are shifted.

timm rolls the map first and pads it then, and leaves out the shift where the map was one window at the size of
classification. Published weights of Mask2Former were trained the other way: at sizes that are no multiple of the
window, its outputs would be others.
"""

import functools

import torch
from timm.models.swin_transformer import PatchMerging, SwinTransformer, SwinTransformerBlock
from torch import Tensor
from torch.nn import functional as F

from vislab.layers.recompute import recompute


def use_dense_windows(model: torch.nn.Module) -> None:
    """Change a timm SwinTransformer in place; other models stay as they are."""
    if not isinstance(model, SwinTransformer):
        return
    for module in model.modules():
        if isinstance(module, SwinTransformerBlock):
            size = tuple(module.attn.window_size)
            shifted = any(module.target_shift_size)
            module.shift_size = tuple(n // 2 for n in size) if shifted else (0, 0)
            module.forward = functools.partial(block, module)
        elif isinstance(module, PatchMerging):
            module.forward = functools.partial(recompute, module.forward)


def block(self: SwinTransformerBlock, x: Tensor) -> Tensor:
    """A block on a (B, H, W, C) map. What norms and the activation give is worked out again in backward: it is a third
    of what would be kept, and cheap next to the products. (Attention weights are small, and twice as dear.)"""
    x = x + self.drop_path1(window_attention(self, x))
    mlp = self.mlp
    hidden = recompute(lambda x: mlp.fc1(self.norm2(x)), x)
    random = mlp.training and mlp.drop1.p > 0
    return x + self.drop_path2(mlp.drop2(recompute(lambda h: mlp.fc2(mlp.drop1(mlp.act(h))), hidden, random=random)))


def window_attention(self: SwinTransformerBlock, x: Tensor) -> Tensor:
    """Attention of a block within windows of the norm of a (B, H, W, C) map."""
    b, h, w, c = x.shape
    attn, (wh, ww), shift = self.attn, self.window_size, self.shift_size
    below, right = -h % wh, -w % ww
    rows, columns = (h + below) // wh, (w + right) // ww
    area, heads = wh * ww, attn.num_heads

    def project(x: Tensor) -> Tensor:
        """(B, windows, area, 3 * C)"""
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
        mask = _shift_mask(h + below, w + right, (wh, ww), tuple(shift), x.device)
        bias = bias + mask.to(bias.dtype)[:, None]  # (windows, heads, area, area)
    weights = torch.matmul(q * attn.scale, k.transpose(3, 4)) + bias
    out = torch.matmul(attn.attn_drop(weights.softmax(-1)), v)
    out = attn.proj_drop(attn.proj(out.transpose(2, 3).reshape(b, rows * columns, area, c)))
    x = out.view(b, rows, columns, wh, ww, c).transpose(2, 3).reshape(b, h + below, w + right, c)
    if any(shift):
        x = x.roll(tuple(shift), dims=(1, 2))
    return x[:, :h, :w]


def _shift_mask(height: int, width: int, window: tuple[int, int], shift: tuple[int, int], device) -> Tensor:
    """(windows, area, area): 0 within a region, -inf between regions that the shift brought side by side. The usual
    -100 leaves weights near 1e-44, which a CPU multiplies ten times slower than zeros."""
    (wh, ww), (below, right) = window, (window[0] - shift[0], window[1] - shift[1])
    rows, columns = height // wh, width // ww
    mask = torch.zeros(rows, columns, wh, ww, wh, ww, device=device)
    # the shift brings rows from the top below those of the last windows, and columns likewise
    mask[-1, :, :below, :, below:] = mask[-1, :, below:, :, :below] = float("-inf")
    mask[:, -1, :, :right, :, right:] = mask[:, -1, :, right:, :, :right] = float("-inf")
    return mask.view(rows * columns, wh * ww, wh * ww)
