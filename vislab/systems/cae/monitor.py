"""Collapse of the latents: statistics that are logged at each step, and a hook that warns."""

import torch
from torch import Tensor

MAX_TOKENS = 2048
"""Tokens from which the statistics are computed, at most (and at least those of one sample)."""


@torch.no_grad()
def latent_statistics(latents: Tensor, ids: Tensor, num_patches: int) -> tuple[Tensor, Tensor]:
    """Return standard deviation and effective rank of latents, float32 scalars, beyond what the position explains.

    The mean over the tokens at the same position is subtracted first: latents that depend on the position alone have
    collapsed. The effective rank is the participation ratio (tr C)^2 / tr(C^2) of the covariance C: k for k directions
    of equal variance. Both are 0 if no position occurs twice.

    Args:
        latents: (B, n, D), before their final norm, which would hide a change of scale.
        ids: (B, n) int64, their positions.
        num_patches: Number of positions, N.
    """
    b, n, dim = latents.shape
    b = min(b, max(1, MAX_TOKENS // n))
    x, places = latents[:b].float().reshape(b * n, dim), ids[:b].flatten()
    with torch.autocast(x.device.type, enabled=False):
        count = x.new_zeros(num_patches).index_add_(0, places, x.new_ones(b * n))
        total = x.new_zeros(num_patches, dim).index_add_(0, places, x)
        x = x - (total / count.clamp(min=1)[:, None])[places]  # (b * n, D)
        freedom = (b * n - (count > 0).sum()).clamp(min=1)
        std = (x.square().sum() / (freedom * dim)).sqrt()
        # the nonzero eigenvalues of x^T x are those of x x^T
        products = x.T @ x if dim <= b * n else x @ x.T
        rank = products.trace().square() / products.square().sum().clamp(min=torch.finfo(torch.float32).tiny)
    return std, rank
