"""Layer-wise learning rate decay for fine-tuning: deeper layers of a pre-trained encoder have higher learning rates.

Encoders define the depth of their parameters (`layer_ids()`, see TimmEncoder); other parameters (decoders, heads) use
the full rate. The scales are those of BEiT: `layer_decay ** (number of layers - depth)`.
"""

import inspect
import re
from typing import Any

from mmengine.optim import OptimWrapper
from torch import nn

from vislab.errors import ConfigError, did_you_mean
from vislab.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS


class Rules:
    """Rules for the learning rate and weight decay of each parameter.

    Args:
        layer_decay: Factor from one layer to the previous one, in (0, 1]; 1 means the same rate for all layers.
        min_scale: Minimum scale of a layer.
        no_decay_norm_bias: No weight decay for parameters of at most one dimension: norms, biases, layer scales.
        decay_bias: Use weight decay for biases of layers other than norms, as in detectron2's configs.
        respect_no_weight_decay: No weight decay for parameters in `no_weight_decay()` of a module.
        lr_mult: Additional factors by prefix of the parameter name, e.g. {"decoder": 10}; the longest match is used.
            "*" matches any text, e.g. {"*.sampling_offsets": 0.1}.
        decay_mult: Factors on the weight decay, in the same form.
    """

    def __init__(
        self,
        *,
        layer_decay: float = 0.75,
        min_scale: float = 0.0,
        no_decay_norm_bias: bool = True,
        decay_bias: bool = False,
        respect_no_weight_decay: bool = True,
        lr_mult: dict[str, float] | None = None,
        decay_mult: dict[str, float] | None = None,
    ) -> None:
        if not 0 < layer_decay <= 1:
            raise ConfigError(f"optim_wrapper.paramwise_cfg.layer_decay={layer_decay!r} is not in (0, 1]")
        self.layer_decay, self.min_scale = layer_decay, min_scale
        self.no_decay_norm_bias, self.decay_bias = no_decay_norm_bias, decay_bias
        self.respect = respect_no_weight_decay
        self.lr_mult, self.decay_mult = dict(lr_mult or {}), dict(decay_mult or {})

    def groups(self, model: nn.Module, *, lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """Return optimizer groups of the trained parameters with `lr`, `weight_decay` and `lr_scale`."""
        scales, exempt = self._scales(model), self._exempt(model)
        decayed = _biases(model) if self.decay_bias else set()
        for setting, table in (("lr_mult", self.lr_mult), ("decay_mult", self.decay_mult)):
            for start in table:
                names = [name for name, _ in model.named_parameters()]
                if not any(starts_with(name, start) for name in names):
                    parts = sorted({".".join(name.split(".")[: start.count(".") + 1]) for name in names})
                    raise ConfigError(
                        f"optim_wrapper.paramwise_cfg.{setting}: no parameter begins with {start!r}"
                        f"{did_you_mean(start, parts, '.')} The model has {', '.join(parts[:8])}"
                        f"{' ...' if len(parts) > 8 else ''}. A base's keys stay under `update(...)`: "
                        f'assign optim_wrapper["paramwise_cfg"]["{setting}"] = {{...}} to replace them.'
                    )
        groups: dict[tuple[float, float], dict[str, Any]] = {}
        for name, parameter in model.named_parameters():  # names a shared parameter once
            if not parameter.requires_grad:
                continue
            scale = scales.get(name, 1.0) * _longest(self.lr_mult, name)
            small = self.no_decay_norm_bias and parameter.ndim <= 1 and name not in decayed
            bare = name in exempt or small
            decay = 0.0 if bare else weight_decay * _longest(self.decay_mult, name)
            new = {"params": [], "lr": lr * scale, "weight_decay": decay, "lr_scale": scale}
            groups.setdefault((scale, decay), new)["params"].append(parameter)
        return list(groups.values())

    def _scales(self, model: nn.Module) -> dict[str, float]:
        scales = {}
        for prefix, module in model.named_modules():
            if not callable(getattr(module, "layer_ids", None)):
                continue
            ids = module.layer_ids()
            count = max(ids.values()) + 1  # what follows the encoder is layer number `count`, at full rate
            for name, depth in ids.items():
                full = f"{prefix}.{name}" if prefix else name
                scales[full] = max(self.min_scale, self.layer_decay ** (count - depth))
        if not scales and self.layer_decay != 1:
            raise ConfigError(
                "optim_wrapper.paramwise_cfg.layer_decay: no part of this model defines layers "
                "(a module with layer_ids(), e.g. TimmEncoder); remove the constructor or set layer_decay=1"
            )
        return scales

    def _exempt(self, model: nn.Module) -> set[str]:
        names = set()
        if not self.respect:
            return names
        for prefix, module in model.named_modules():
            if callable(getattr(module, "no_weight_decay", None)):
                own = {f"{prefix}.{name}" if prefix else name for name in module.no_weight_decay()}
                names |= own
        return names


def _biases(model: nn.Module) -> set[str]:
    """Return the names of all biases except those of normalization layers."""
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    parts = [(prefix, part) for prefix, part in model.named_modules() if not isinstance(part, norms)]
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, part in parts
        for name, _ in part.named_parameters(recurse=False)
        if name.endswith("bias")
    }


def _longest(table: dict[str, float], name: str) -> float:
    starts = [start for start in table if starts_with(name, start)]
    return table[max(starts, key=len)] if starts else 1.0


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimConstructor:
    """Builds the optimizer with one parameter group per learning rate scale and weight decay.

    `optim_wrapper=dict(constructor=LayerDecayOptimConstructor, paramwise_cfg=dict(layer_decay=0.75), ...)` in a config.

    Args:
        optim_wrapper_cfg: The `optim_wrapper` section without `constructor` and `paramwise_cfg`.
        paramwise_cfg: Arguments of `Rules`.
    """

    paramwise_type = Rules  # read by the config check

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        try:
            self.rules = self.paramwise_type(**(paramwise_cfg or {}))
        except TypeError as error:
            known = ", ".join(inspect.signature(self.paramwise_type).parameters)
            raise ConfigError(f"optim_wrapper.paramwise_cfg: {error}; it takes {known}") from None

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, "module", model)  # out of a distributed wrapper
        wrapper_cfg = self.optim_wrapper_cfg.copy()
        wrapper_cfg.setdefault("type", "OptimWrapper")
        optimizer_cfg = dict(wrapper_cfg.pop("optimizer"))
        if "lr" not in optimizer_cfg:
            raise ConfigError(f"optim_wrapper.optimizer: {type(self).__name__} scales `lr`: set it explicitly")
        optimizer_cfg["params"] = self._groups(model, optimizer_cfg)
        optimizer = OPTIMIZERS.build(optimizer_cfg)
        return OPTIM_WRAPPERS.build(wrapper_cfg, default_args={"optimizer": optimizer})

    def _groups(self, model: nn.Module, optimizer_cfg: dict[str, Any]) -> list[dict[str, Any]]:
        return self.rules.groups(model, lr=optimizer_cfg["lr"], weight_decay=optimizer_cfg.get("weight_decay", 0.0))


def starts_with(name: str, start: str) -> bool:
    """Return whether `start` is a prefix of a dotted name by whole parts: "head.weight", not "header.weight".

    A "*" in `start` matches any text, e.g. "*.sampling_offsets".
    """
    return re.match(re.escape(start).replace(r"\*", ".*") + r"(\.|$)", name) is not None
