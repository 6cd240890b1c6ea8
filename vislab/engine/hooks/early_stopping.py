"""Early stopping hook with a state that is restored when resuming; CheckpointHook saves the last checkpoint."""

from typing import Any

from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook

from vislab.registry import HOOKS


@HOOKS.register_module()
class EarlyStoppingHook(MMEngineEarlyStoppingHook):
    """Stops training when a validation metric stops improving; arguments are those of mmengine's EarlyStoppingHook.

    The best score and the number of validations since are saved in checkpoints. A stopped run does not continue when it
    is resumed, unless `patience`, `min_delta` or `stopping_threshold` was changed.
    """

    _stopped = False  # mmengine's own instances become this class without __init__, see Runner.register_hook

    def _settings(self) -> list:
        return [self.monitor, self.rule, self.min_delta, self.patience, self.stopping_threshold, self.check_finite]

    def state_dict(self) -> dict[str, Any]:
        return {
            "wait_count": self.wait_count,
            "best_score": self.best_score,
            "stopped": self._stopped,
            "settings": self._settings(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["settings"][:2] != [self.monitor, self.rule]:
            return  # another metric, so the saved score does not apply
        self.wait_count, self.best_score = state["wait_count"], state["best_score"]
        self._stopped = state["stopped"] and state["settings"] == self._settings()

    def before_train(self, runner) -> None:
        if self._stopped:
            runner.train_loop.stop_training = True
            runner.logger.warning(
                f"this run was stopped early at epoch {runner.epoch}, iteration {runner.iter}: {self.monitor} had not "
                f"improved on {self.best_score:.4g}. Nothing is trained. To continue, increase the patience "
                f"({self.patience}) of EarlyStoppingHook or remove the hook."
            )

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        super().after_val_epoch(runner, metrics)
        self._stopped = bool(getattr(runner.train_loop, "stop_training", False))
