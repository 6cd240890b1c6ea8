"""TrActHook, to train with TrAct from a config: custom_hooks=[dict(type=TrActHook, lam=0.1)]."""

from collections.abc import Callable
from functools import partial

from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook, LoggerHook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from vislab.engine.distributed import unwrap
from vislab.errors import ConfigError
from vislab.registry import HOOKS
from vislab.systems.tract.apply import apply_tract, check_settings, get_tract, precondition, remove_tract
from vislab.systems.tract.layers import Layer, find_first_layer
from vislab.systems.tract.update import Seen


@HOOKS.register_module()
class TrActHook(Hook):
    """Train the first layer with TrAct.

    The layer is the first Linear or Conv2d in order of definition, or the one named `layer`. The first training step
    checks that it is also the first trained layer to run. At logging intervals, `tract_norm`, the gradient norm of this
    layer, and `tract_gain`, its ratio to the norm of the ordinary gradient, are logged; they matter if gradients are
    clipped by the norm of the whole model.

    Args:
        lam: Damping, above 0. The paper's default is 0.1, with 0.2 for long and 0.05 for short training.
        reduce: "local", "global" or "deferred"; see `apply_tract`. "deferred" is exact with gradient accumulation and
            several processes, and is applied before clipping.
        layer: Name of the layer in the model, e.g. "network.conv1".

    Raises:
        ConfigError: Before training: there is no such layer, or it is frozen or not supported. After the first step:
            the layer was not run, or another one was run before it.
    """

    needs_whole_model = True  # not supported by FullyShard
    only_one = True  # read by the config check
    priority = "VERY_LOW"  # before_train runs after hooks that freeze or replace modules

    def __init__(self, *, lam: float = 0.1, reduce: str = "local", layer: str | None = None) -> None:
        check_settings(lam, reduce)
        self.lam, self.reduce, self.layer = lam, reduce, layer
        self._watch: _FirstToRun | None = None
        self._undo = lambda: None
        self._interval = 50
        self._reported = 0
        self._collected: list[dict] | None = None
        self._loaded: list[dict] | None = None

    def check_model(self, model: nn.Module) -> None:
        """Raise ConfigError if the model has no such layer; the config check passes a model on the meta device."""
        find_first_layer(model, self.layer)

    def before_train(self, runner: Runner) -> None:
        model = unwrap(runner.model)
        target = find_first_layer(model, self.layer)
        self._target = apply_tract(target, self.lam, self.reduce)
        self._name = next(name for name, part in model.named_modules() if part is target)
        self._reported = 0
        self._interval = next((h.interval for h in runner.hooks if isinstance(h, LoggerHook)), self._interval)
        self._watch = _FirstToRun(model)
        if self.reduce == "deferred":
            self._undo = _before_step(runner.optim_wrapper, target)
        runner.logger.info(f"TrAct: layer {self._name!r}, {target}, lam={self.lam}, reduce={self.reduce!r}")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        get_tract(self._target).measure = (batch_idx + 1) % self._interval == 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        if self._watch is not None:
            self._confirm()
        if (batch_idx + 1) % self._interval == 0:
            self._report(runner)

    # -- within an accumulation window with reduce="deferred", the sums are saved in checkpoints with the gradients --

    def collect_rank_states(self, runner: Runner) -> None:
        """Collect the sums of all ranks; called on each rank before a checkpoint is saved."""
        tract = get_tract(self._target)
        total = None if tract is None else tract.total
        is_open = self.reduce == "deferred" and total is not None and self._target.weight.grad is not None
        self._collected = all_gather_object({"count": total.count, "gram": total.gram.cpu()}) if is_open else None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if self._collected is not None and "optimizer" in checkpoint:
            checkpoint["tract"] = self._collected

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self._loaded = checkpoint.get("tract") if runner._resume else None

    def restore_random_state(self, runner: Runner) -> None:
        """Restore the sums; called before the first step, after the gradients of the window were restored."""
        if self._loaded is None or self._target.weight.grad is None:
            return
        if len(self._loaded) == runner.world_size:
            count, gram = self._loaded[get_rank()]["count"], self._loaded[get_rank()]["gram"]
        else:
            count, gram = (sum(rank[key] for rank in self._loaded) for key in ("count", "gram"))
            if get_rank() > 0:
                count, gram = 0, gram * 0
        tract = get_tract(self._target)
        tract.total = Seen()
        tract.total.add(count, gram=gram.to(self._target.weight.device))
        self._loaded = None

    def after_train(self, runner: Runner) -> None:
        self._undo()
        self._undo = lambda: None
        remove_tract(self._target)

    def _confirm(self) -> None:
        """Check after the first step that the layer was the first one to run."""
        watch, self._watch = self._watch, None
        watch.stop()
        first = watch.names[0] if watch.names else None
        if self._name not in watch.names:
            hint = f"; {first!r} ran first: name a layer with TrActHook(layer=...)" if first else ""
            raise ConfigError(f"TrAct: layer {self._name!r} was not called in the first training step{hint}")
        if self.layer is None and first != self._name:
            raise ConfigError(
                f"TrAct: {self._name!r} is the first layer by definition, but {first!r} ran before it: name the "
                f"layer, e.g. TrActHook(layer={first!r})"
            )

    def _report(self, runner: Runner) -> None:
        tract = get_tract(self._target)
        if tract.norms is not None:
            before, after = (float(norm) for norm in tract.norms)
            runner.message_hub.update_scalar("train/tract_norm", after)
            if before > 0:
                runner.message_hub.update_scalar("train/tract_gain", after / before)
            tract.norms = None
        if (fallbacks := int(tract.fallbacks)) > self._reported:
            runner.logger.warning(
                f"TrAct: {fallbacks} times so far the input of {self._name!r} could not be factorized (not finite?), "
                "and the ordinary gradient was used"
            )
            self._reported = fallbacks


class _FirstToRun:
    """Records the order in which the trained Linear and Conv2d layers of a model are called."""

    def __init__(self, model: nn.Module) -> None:
        self.names: list[str] = []
        self._handles = [
            part.register_forward_pre_hook(self._note(name))
            for name, part in model.named_modules()
            if isinstance(part, Layer) and part.weight.requires_grad
        ]

    def _note(self, name: str):
        return lambda module, args: self.names.append(name)

    def stop(self) -> None:
        for handle in self._handles:
            handle.remove()


def _before_step(wrapper: OptimWrapper | OptimWrapperDict, layer: nn.Module) -> Callable[[], object]:
    """Make the wrapper of the layer's weight precondition it before clipping; returns a function that undoes it."""
    wrappers = wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    for one in wrappers:
        if any(p is layer.weight for group in one.optimizer.param_groups for p in group["params"]):
            one.step = partial(_precondition_and_step, layer, one.step)
            return partial(vars(one).pop, "step", None)
    raise ConfigError("TrAct: the first layer's weight is not in any optimizer, so its gradient would have no effect")


def _precondition_and_step(layer: nn.Module, step: Callable[..., None], **kwargs) -> None:
    precondition(layer)
    step(**kwargs)
