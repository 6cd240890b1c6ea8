"""Collapse of the latents: statistics that are logged at each step, and a hook that warns."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from vislab.engine.distributed import unwrap
from vislab.errors import ConfigError
from vislab.registry import HOOKS

MAX_TOKENS = 2048
"""Tokens from which the statistics are computed, at most (and at least those of one sample)."""

STATISTICS = {
    "latent_std": "the standard deviation of the visible latents beyond what their position explains",
    "latent_rank": "their effective rank",
}


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


@HOOKS.register_module()
class CollapseHook(Hook):
    """Warns when the latents collapse: when `latent_std` or `latent_rank` falls below a part of its largest value.

    The means of the last `interval` steps are compared at every `interval` steps, so that nothing is read from the
    device in between. Each value is reported once, and again after it has recovered.

    Args:
        interval: Steps between comparisons.
        fraction: Part of the largest mean so far, in (0, 1), below which a warning is given.
    """

    priority = "LOW"

    def __init__(self, *, interval: int = 50, fraction: float = 0.1) -> None:
        if interval < 1 or not 0 < fraction < 1:
            raise ConfigError(f"CollapseHook: interval={interval}, fraction={fraction}: expected >= 1 and in (0, 1)")
        self.interval, self.fraction = interval, fraction
        self.largest: dict[str, float] = {}
        self.reported: list[str] = []

    def before_train(self, runner: Runner) -> None:
        if not getattr(unwrap(runner.model), "monitor", False):
            raise ConfigError("CollapseHook: the model logs no statistics of its latents: set monitor=True in CAE")

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        if not self.every_n_train_iters(runner, self.interval):
            return
        for name, meaning in STATISTICS.items():
            value = runner.message_hub.get_scalar(f"train/{name}").mean(self.interval)
            largest = self.largest[name] = max(value, self.largest.get(name, 0.0))
            low = value < self.fraction * largest
            if low and name not in self.reported:
                self.reported.append(name)
                runner.logger.warning(
                    f"the latents collapse: {name}, {meaning}, is {value:.3g} at iteration {runner.iter + 1}, after "
                    f"{largest:.3g} before. Features of such an encoder are the same for all images: raise "
                    "reconstruction_weight, lower alignment_weight, or lower the learning rate."
                )
            elif not low and name in self.reported:
                self.reported.remove(name)

    def state_dict(self) -> dict[str, Any]:
        return {"largest": dict(self.largest), "reported": list(self.reported)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.largest, self.reported = dict(state["largest"]), list(state["reported"])
