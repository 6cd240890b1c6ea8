"""Hook for step A, which samples an exit for each optimizer step, the same on all processes."""

from collections.abc import Sequence

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from vislab.engine.distributed import unwrap
from vislab.errors import ConfigError
from vislab.registry import HOOKS


@HOOKS.register_module()
class SampleExitHook(Hook):
    """Sets `train_exit` of the model before each step, depending only on the seed of the run and the optimizer step.

    All processes use the same exit, resumed runs use the exits of uninterrupted runs, and the iterations of an
    accumulated step have the same exit.

    Args:
        weights: Sampling weight of each exit. Default: uniform.
    """

    only_one = True  # read by the config check
    priority = "NORMAL"

    def __init__(self, *, weights: Sequence[float] | None = None) -> None:
        self.weights = weights

    def check_model(self, model: nn.Module) -> None:
        """Raise ConfigError if the model does not have these exits; also called by the config check."""
        if not hasattr(model, "exits"):
            raise ConfigError(f"SampleExitHook: {type(model).__name__} has no exits; it is for EcoM2F and EcoDETR")
        if self.weights is not None and len(self.weights) != len(model.exits):
            raise ConfigError(
                f"SampleExitHook: weights={list(self.weights)} for the {len(model.exits)} exits {list(model.exits)}"
            )

    def before_train(self, runner: Runner) -> None:
        self.check_model(_unwrap(runner))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        accumulated = getattr(runner.optim_wrapper, "_accumulative_counts", 1)
        model = _unwrap(runner)
        model.train_exit = draw_exit(model.exits, runner.seed or 0, runner.iter // accumulated, self.weights)
        runner.message_hub.update_scalar("train/exit", model.train_exit)


def draw_exit(exits: Sequence[int], seed: int, step: int, weights: Sequence[float] | None = None) -> int:
    """Sample one of `exits`, depending on seed and step only."""
    share = None if weights is None else np.asarray(weights, float) / np.sum(weights)
    return int(np.random.default_rng([0xEC0, seed, step]).choice(exits, p=share))


def _unwrap(runner: Runner):
    return unwrap(runner.model)
