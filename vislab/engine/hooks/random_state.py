"""Hook that saves and restores random states in checkpoints, for exact resuming."""

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook

from vislab.engine.resume.random_state import get_random_state, set_random_state
from vislab.registry import HOOKS


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Saves the random state of all ranks, and restores it before the first batch of a resumed run.

    The state is also restored after validation, which does not affect training, so checkpoints before and after
    validation have the same state.

    In addition to mmengine's events, Runner and its loops call `collect_rank_states` (every rank, before a checkpoint
    is saved) and `restore_random_state` (before the first batch).
    """

    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._before_validation: dict | None = None
        self._collected: list[dict] | None = None
        self._loaded: list[dict] | None = None

    def before_val(self, runner) -> None:
        self._before_validation = get_random_state()

    def after_val(self, runner) -> None:
        if self._before_validation is not None:
            set_random_state(self._before_validation)
            self._before_validation = None

    def collect_rank_states(self, runner) -> None:
        self._collected = all_gather_object(self._before_validation or get_random_state())

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        checkpoint["random_state"] = self._collected or [get_random_state()]

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get("random_state") if runner._resume else None

    def restore_random_state(self, runner) -> None:
        if self._loaded is None:
            return
        if len(self._loaded) == runner.world_size:
            set_random_state(self._loaded[get_rank()])
        else:
            runner.logger.warning(
                f"the checkpoint was saved by {len(self._loaded)} processes and is resumed by {runner.world_size}: "
                "random numbers drawn inside the model will differ from the uninterrupted run (data and augmentation "
                "will not)"
            )
        self._loaded = None
