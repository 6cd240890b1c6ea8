"""Parameter groups of Muon: weight matrices of chosen parts of a model, and everything else for Adam."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from vislab.engine.optim.layer_decay import LayerDecayOptimConstructor, Rules, starts_with
from vislab.errors import ConfigError, did_you_mean
from vislab.registry import OPTIM_WRAPPER_CONSTRUCTORS

MATRIX_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class MuonRules(Rules):
    """Rules of layer_decay.py, and the choice of the weights that Muon updates.

    Args:
        matrices: Prefixes of parameter names, e.g. ["decoder.stages"]: the weights of linear and convolution layers
            below them are updated by Muon. Leave out first and last layers, which Adam trains better.
        exclude: Prefixes below `matrices` that stay with Adam.
        split_pixel_shuffle: Treat a convolution before a PixelShuffle of an nn.Sequential as one matrix per position.
        layer_decay: As in Rules, but 1 by default.
        rules: Other arguments of Rules.
    """

    def __init__(
        self,
        *,
        matrices: Sequence[str],
        exclude: Sequence[str] = (),
        split_pixel_shuffle: bool = True,
        layer_decay: float = 1.0,
        min_scale: float = 0.0,
        no_decay_norm_bias: bool = True,
        decay_bias: bool = False,
        respect_no_weight_decay: bool = True,
        lr_mult: dict[str, float] | None = None,
        decay_mult: dict[str, float] | None = None,
    ) -> None:
        super().__init__(
            layer_decay=layer_decay,
            min_scale=min_scale,
            no_decay_norm_bias=no_decay_norm_bias,
            decay_bias=decay_bias,
            respect_no_weight_decay=respect_no_weight_decay,
            lr_mult=lr_mult,
            decay_mult=decay_mult,
        )
        if isinstance(matrices, str) or isinstance(exclude, str) or not matrices:
            raise ConfigError(
                f"optim_wrapper.paramwise_cfg: matrices={matrices!r}, exclude={exclude!r} should be lists of prefixes "
                'of parameter names, e.g. matrices=["decoder.stages"]'
            )
        self.matrices, self.exclude, self.split_pixel_shuffle = list(matrices), list(exclude), split_pixel_shuffle

    def groups(self, model: nn.Module, *, lr: float, weight_decay: float, adam_lr: float) -> list[dict[str, Any]]:
        """Return the groups of `Rules` divided by method and split, with the learning rate of their method."""
        splits = self._splits(model)
        names = {parameter: name for name, parameter in model.named_parameters()}
        groups: dict[tuple, dict[str, Any]] = {}
        for group in super().groups(model, lr=1.0, weight_decay=weight_decay):
            for parameter in group["params"]:
                split = splits.get(names[parameter])
                method, rate = ("adam", adam_lr) if split is None else ("muon", lr)
                key = (group["lr_scale"], group["weight_decay"], method, split)
                new = {**group, "params": [], "lr": rate * group["lr"], "method": method, "split": split or 1}
                groups.setdefault(key, new)["params"].append(parameter)
        return list(groups.values())

    def _splits(self, model: nn.Module) -> dict[str, int]:
        """Return name -> split of the weights that Muon updates.

        Raises:
            ConfigError: A prefix matches no parameter, or none that is a trained weight matrix.
        """
        parameters = dict(model.named_parameters())
        for setting, prefixes in (("matrices", self.matrices), ("exclude", self.exclude)):
            for prefix in prefixes:
                if not any(starts_with(name, prefix) for name in parameters):
                    parts = sorted({".".join(name.split(".")[: prefix.count(".") + 1]) for name in parameters})
                    raise ConfigError(
                        f"optim_wrapper.paramwise_cfg.{setting}: no parameter begins with {prefix!r}"
                        f"{did_you_mean(prefix, parts, '.')} The model has {', '.join(parts[:8])}"
                        f"{' ...' if len(parts) > 8 else ''}"
                    )
        shuffles = _before_pixel_shuffle(model) if self.split_pixel_shuffle else {}
        found = {}
        for prefix, module in model.named_modules():
            name = f"{prefix}.weight" if prefix else "weight"
            if not isinstance(module, MATRIX_LAYERS) or name not in parameters or not parameters[name].requires_grad:
                continue
            chosen = any(starts_with(name, p) for p in self.matrices)
            if chosen and not any(starts_with(name, p) for p in self.exclude):
                found[name] = shuffles.get(prefix, 1)
        for prefix in self.matrices:
            if not any(starts_with(name, prefix) for name in found):
                raise ConfigError(
                    f"optim_wrapper.paramwise_cfg.matrices: {prefix!r} has no trained weight of a linear or "
                    "convolution layer; leave it to Adam by removing it from the list"
                )
        return found


def _before_pixel_shuffle(model: nn.Module) -> dict[str, int]:
    """Return name -> square of the upscale factor of the convolutions before a PixelShuffle in an nn.Sequential."""
    found = {}
    for prefix, module in model.named_modules():
        if not isinstance(module, nn.Sequential):
            continue
        children = list(module.named_children())
        for (name, layer), (_, following) in zip(children, children[1:], strict=False):
            if isinstance(layer, nn.Conv2d) and isinstance(following, nn.PixelShuffle):
                found[f"{prefix}.{name}" if prefix else name] = following.upscale_factor**2
    return found


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MuonOptimConstructor(LayerDecayOptimConstructor):
    """Builds Muon with the weight matrices of chosen parts, and Adam for the other parameters.

        optim_wrapper = dict(
            type=OptimWrapper,
            constructor=MuonOptimConstructor,
            paramwise_cfg=dict(matrices=["decoder.stages"]),
            optimizer=dict(type=Muon, lr=0.02, adam_lr=2e-3),
        )

    Args:
        optim_wrapper_cfg: The `optim_wrapper` section without `constructor` and `paramwise_cfg`.
        paramwise_cfg: Arguments of `MuonRules`.
    """

    paramwise_type = MuonRules  # read by the config check

    def _groups(self, model: nn.Module, optimizer_cfg: dict[str, Any]) -> list[dict[str, Any]]:
        if "adam_lr" not in optimizer_cfg:
            raise ConfigError(
                "optim_wrapper.optimizer: MuonOptimConstructor builds Muon, with `lr` for the matrices and `adam_lr` "
                "for the other parameters: set type=Muon and both rates"
            )
        return self.rules.groups(
            model,
            lr=optimizer_cfg["lr"],
            weight_decay=optimizer_cfg.get("weight_decay", 0.0),
            adam_lr=optimizer_cfg["adam_lr"],
        )
