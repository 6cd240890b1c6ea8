"""Fully sharded data parallel training with FSDP2."""

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
    """Model wrapper that shards parameters, gradients and optimizer state over the N processes of a run (FSDP2).

    Set `model_wrapper_cfg=dict(type=FullyShard)` in a config to use it in place of DistributedDataParallel. A run of
    one process uses neither. The parameters of a unit are gathered before its forward pass and freed afterwards. Units
    are the blocks of the encoders of the model; all other parameters form one more unit.

    For evaluation, all parameters are gathered and kept until the next training step, so that the number of forward
    passes may differ between processes, as with sliding windows.

    Checkpoints contain the whole model and optimizer state, as in other runs.

    Args:
        module: Model with its initial weights, on its device.
        units: Names of the classes whose modules become units, e.g. ["Block"]. None: the blocks of the encoders, which
                are the innermost repeated modules within modules that have `layer_ids()`.
        reshard_after_forward: Whether to free the parameters of a unit after its forward pass and to gather them again
                for its backward pass. False uses more memory and less communication.
        defer_gradient_sync: Whether to reduce gradients only at the end of a gradient accumulation window. This reduces
                communication, but each process stores whole gradients, and checkpoints within a window lack them.

    Raises:
        ConfigError: If steps of this model leave parameters without gradient, or no module is of a class in `units`.
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
                f"model_wrapper_cfg: FullyShard does not support {type(model).__name__}, whose steps leave parameters "
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
        """Run the training step of the model; gradients are averaged over the processes."""
        if self._whole:
            self.reshard()
        if self.defer_gradient_sync:
            self._root[0].set_requires_gradient_sync(optim_wrapper.should_sync())
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: Any) -> list:
        """Return the predictions of the model, with all parameters gathered."""
        self.unshard()
        return self.module.val_step(data)

    def test_step(self, data: Any) -> list:
        """Return the predictions of the model, with all parameters gathered."""
        self.unshard()
        return self.module.test_step(data)

    def unshard(self) -> None:
        """Gather and keep all parameters, so that forward passes do not communicate."""
        if self._whole:
            return
        self._set_reshard(False)
        for unit in self._sharded():
            unit.unshard()
        self._whole = True

    def reshard(self) -> None:
        """Free gathered parameters; `named_parameters()` returns the sharded parameters again."""
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
    """Raise ConfigError for hooks that use whole parameters: EMAHook and hooks with `needs_whole_model`."""
    for hook in hooks:
        if isinstance(hook, EMAHook) or getattr(hook, "needs_whole_model", False):
            raise ConfigError(
                f"{type(hook).__name__} does not support model_wrapper_cfg=dict(type=FullyShard), with which no "
                "process has the whole model: remove one of the two"
            )


def find_units(model: nn.Module, class_names: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """Return the modules to shard separately, by name: those of the classes `class_names`, by default encoder blocks.

    Blocks are the elements of the innermost lists of modules of one class, within modules that have `layer_ids()`, such
    as transformer or residual blocks.

    Raises:
        ConfigError: If the model has no module of a class in `class_names`.
    """
    if class_names is not None:
        named = {name: part for name, part in model.named_modules() if type(part).__name__ in class_names}
        lacking = sorted(set(class_names) - {type(part).__name__ for part in named.values()})
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
    """Return the elements of the innermost lists of modules of one class, by name."""
    lists = {name: part for name, part in encoder.named_modules() if _is_repetition(part)}
    inner = [name for name in lists if not any(other.startswith(f"{name}.") for other in lists)]
    return {f"{name}.{key}": block for name in inner for key, block in lists[name].named_children()}


def _is_repetition(part: nn.Module) -> bool:
    members = list(part.children())
    return (
        isinstance(part, (nn.Sequential, nn.ModuleList))
        and len(members) > 1
        and len({type(member) for member in members}) == 1
        and not isinstance(members[0], nn.ModuleList)  # its elements are called separately
        and all(any(True for _ in member.children()) for member in members)
        and all(any(True for _ in member.parameters()) for member in members)
    )
