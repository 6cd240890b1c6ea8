"""Content of the checkpoints of a run, as tensors and plain Python objects."""

import time
from typing import Any

import mmengine
from mmengine.dist import is_main_process

from vislab.engine.class_lists import dataset_meta
from vislab.engine.distributed import unwrap
from vislab.engine.resume.optim_state import schedule_states
from vislab.engine.sharding import FullyShard
from vislab.io.serialize import to_plain
from vislab.io.sharded import gather_whole


def checkpoint_content(
    runner: Any, meta: dict[str, Any], *, save_optimizer: bool, save_param_scheduler: bool
) -> dict[str, Any] | None:
    """Return the content to save on the main process, None on the others. Must be called on all processes.

    Sharded tensors (FullyShard) are gathered, so that the content does not depend on the model wrapper.

    Args:
        runner: The Runner.
        meta: Numbers of completed epochs and iterations, `epoch` and `iter`, and additional entries.
        save_optimizer: Whether to include the optimizer state, which is needed to resume.
        save_param_scheduler: Whether to include scheduler states, which are needed to resume.

    Raises:
        CheckpointError: Something cannot be saved as plain data.
    """
    sharded, main = isinstance(runner.model, FullyShard), is_main_process()
    if sharded:
        runner.model.reshard()
    runner.call_hook("collect_rank_states")
    if not main and not sharded:
        return None
    model = unwrap(runner.model)
    weights = model.state_dict()
    optimizer = runner.optim_wrapper.state_dict() if save_optimizer else None
    if sharded:
        weights, optimizer = gather_whole(weights, keep=main), gather_whole(optimizer, keep=main)
    if not main:
        return None
    content: dict[str, Any] = {
        "meta": {
            **meta,
            "data": runner.train_loop.position(meta["epoch"], meta["iter"]),
            "seed": runner.seed,
            "experiment_name": runner.experiment_name,
            "time": time.strftime("%Y%m%d_%H%M%S"),
            "seconds": time.time() - runner._began,
            "cfg": runner.config_text,
            "mmengine_version": mmengine.__version__,
            "dataset_meta": dataset_meta(runner.train_dataloader.dataset),
        },
        "state_dict": weights,
        "message_hub": runner.message_hub.state_dict(),
        "hooks": runner._hook_states.state_dict(),
        "settings": runner.settings,
    }
    if save_optimizer:
        content["optimizer"] = optimizer
    if save_param_scheduler and runner.param_schedulers is not None:
        content["param_schedulers"] = schedule_states(runner.param_schedulers)
    runner.call_hook("before_save_checkpoint", checkpoint=content)
    return to_plain(content)
