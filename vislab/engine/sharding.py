"""Shards parameters, gradients and optimizer state over the processes of a run, by FSDP2."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel
from mmengine.optim import OptimWrapper
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from vislab.errors import ConfigError
from vislab.registry import MODEL_WRAPPERS


@MODEL_WRAPPERS.register_module()
class FullyShard(nn.Module):
    """Wraps a model so that each process keeps 1/N of its parameters, gradients and optimizer state (FSDP2).

    `model_wrapper_cfg=dict(type=FullyShard)` in a config takes the place of DistributedDataParallel; a run of one
    process does without either. The parameters of one unit are gathered when it runs and freed after it. Units are the
    blocks of the model's encoders; what is outside them is one more unit.

    For evaluation all parameters are gathered and stay so until the next training step: the number of times a network
    runs may then differ between processes, as it does with sliding windows.

    Checkpoints hold the whole model and the whole optimizer state, as those of any other run.

    Args:
        module: The model, with its initial weights and on its device.
        units: Names of the classes whose modules become units, e.g. ["Block"]. None: the blocks of the encoders (the
            innermost repeated modules of everything that has `layer_ids()`).
        reshard_after_forward: Free a unit's parameters after its forward pass and gather them again for its backward
            pass. False takes more memory and less communication.
        defer_gradient_sync: With gradient accumulation reduce gradients at the end of a window only: less
            communication, but each process keeps whole gradients meanwhile, and a checkpoint inside a window lacks
            them.

    Raises:
        ConfigError: a step of this model leaves parameters without a gradient, or no module is of a class in `units`.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        units: Sequence[str] | None = None,
        reshard_after_forward: bool = True,
        defer_gradient_sync: bool = False,
    ) -> None:
        super().__init__()
        model = module.module if isinstance(module, BaseTTAModel) else module
        if getattr(model, "find_unused_parameters", False):
            raise ConfigError(
                f"model_wrapper_cfg: FullyShard does not go with {type(model).__name__}, whose steps leave parameters "
                "without a gradient: remove model_wrapper_cfg, and the run uses DistributedDataParallel"
            )
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        for parameter in model.parameters():  # FSDP2 splits memory in this order only; channels_last gets lost
            parameter.data = parameter.data.contiguous()
        mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
        found = find_units(model, units)
        for unit in found.values():
            fully_shard(unit, mesh=mesh, reshard_after_forward=reshard_after_forward)
        fully_shard(model, mesh=mesh)
        self.module = module
        self._root = [model]  # in a list: it is registered as `module` already
        self.defer_gradient_sync = defer_gradient_sync
        self._reshard_after_forward = reshard_after_forward
        self._whole = False
        kinds = sorted({type(unit).__name__.removeprefix("FSDP") for unit in found.values()})
        print_log(
            f"FullyShard: {len(found)} units of {', '.join(kinds) or 'no class'} and the rest of the model, "
            f"over {mesh.size()} processes",
            logger="current",
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
        """The model's training step; gradients are averaged over the processes."""
        if self._whole:
            self.reshard()
        if self.defer_gradient_sync:
            self._root[0].set_requires_gradient_sync(optim_wrapper.should_sync())
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: Any) -> list:
        """The model's predictions, with all parameters gathered."""
        self.unshard()
        return self.module.val_step(data)

    def test_step(self, data: Any) -> list:
        """The model's predictions, with all parameters gathered."""
        self.unshard()
        return self.module.test_step(data)

    def unshard(self) -> None:
        """Gather all parameters and keep them: forward passes do not communicate from here on."""
        if self._whole:
            return
        self._set_reshard(False)
        for unit in self._sharded():
            unit.unshard()
        self._whole = True

    def reshard(self) -> None:
        """Free what is gathered; `named_parameters()` gives the split parameters again."""
        if self._whole:
            self._set_reshard(self._reshard_after_forward)
        for unit in self._sharded():
            unit.reshard()
        self._whole = False

    def _set_reshard(self, value: bool) -> None:
        for unit in self._sharded():
            if unit is not self._root[0]:
                unit.set_reshard_after_forward(value, recurse=False)

    def _sharded(self) -> Iterator[FSDPModule]:
        return (part for part in self.module.modules() if isinstance(part, FSDPModule))


def check_hooks_for_sharding(hooks: Iterable[Hook]) -> None:
    """Raise ConfigError for hooks that read or copy whole parameters: EMAHook and those with `needs_whole_model`."""
    for hook in hooks:
        if isinstance(hook, EMAHook) or getattr(hook, "needs_whole_model", False):
            raise ConfigError(
                f"{type(hook).__name__} does not go with model_wrapper_cfg=dict(type=FullyShard), under which no "
                "process has the whole model: remove one of the two"
            )


def find_units(model: nn.Module, kinds: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """Returns the modules to shard one by one, by name: those of the classes named `kinds`, else encoder blocks.

    Blocks are the members of the innermost lists of modules of one class, within parts that have `layer_ids()`:
    transformer blocks, residual blocks, whatever the encoder calls them.

    Raises:
        ConfigError: no module of the model is of a class named in `kinds`.
    """
    if kinds is not None:
        named = {name: part for name, part in model.named_modules() if type(part).__name__ in kinds}
        lacking = sorted(set(kinds) - {type(part).__name__ for part in named.values()})
        if lacking:
            known = sorted({type(part).__name__ for part in model.modules() if any(True for _ in part.children())})
            raise ConfigError(
                f"model_wrapper_cfg.units: the model has no module of class {', '.join(lacking)}; it has "
                f"{', '.join(known)}"
            )
        return named
    encoders = [(name, part) for name, part in model.named_modules() if callable(getattr(part, "layer_ids", None))]
    return {f"{prefix}.{name}".lstrip("."): unit for prefix, part in encoders for name, unit in _blocks(part).items()}


def _blocks(encoder: nn.Module) -> dict[str, nn.Module]:
    """The members of the innermost lists of modules of one class, by name."""
    lists = {name: part for name, part in encoder.named_modules() if _is_repetition(part)}
    inner = [name for name in lists if not any(other.startswith(f"{name}.") for other in lists)]
    return {f"{name}.{key}": block for name in inner for key, block in lists[name].named_children()}


def _is_repetition(part: nn.Module) -> bool:
    members = list(part.children())
    return (
        isinstance(part, (nn.Sequential, nn.ModuleList))
        and len(members) > 1
        and len({type(member) for member in members}) == 1
        and not isinstance(members[0], nn.ModuleList)  # called one by one, never as a whole
        and all(any(True for _ in member.children()) for member in members)
        and all(any(True for _ in member.parameters()) for member in members)
    )
