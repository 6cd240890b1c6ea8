"""timm models as encoders, which return a list of feature maps with known channels and strides.

Hierarchical models (ResNet, ConvNeXt, Swin, EfficientNet, ...) return their stages of stride 4 and more; plain vision
transformers
return the tokens of evenly spaced blocks as maps. Parameters have timm's names with the prefix `model.`, as needed for
timm's checkpoints and layer groups.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import CheckpointError, ConfigError, check_choice
from vislab.io.paths import expand
from vislab.models.encoders.frozen_norm import freeze
from vislab.models.encoders.initial_weights import are_loaded
from vislab.models.encoders.response_norm import use_lean_norms
from vislab.models.encoders.timm_models import (
    create_model,
    enable_grad_checkpointing,
    exported_facts,
    layer_groups,
    load_weights,
    num_heads,
)
from vislab.ops.images import normalize
from vislab.registry import MODELS

# Arguments that enable images of any size; each family of transformers supports at most one of them.
ANY_SIZE = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})


@MODELS.register_module()
class TimmEncoder(nn.Module):
    """Encoder with a timm model: `encoder(images)` returns maps (B, channels[i], ~H/strides[i], ~W/strides[i]).

    Images can have any size; if a side is not a multiple of a stride, it is rounded up or down as in the timm model.

    Args:
        name: timm model name, e.g. "resnet50" or "vit_small_patch16_224".
        pretrained: True for timm's weights (downloaded once), False for random weights, or the path of a .safetensors
            or .pth file with timm's names or of a vislab checkpoint with such an encoder; `$VISLAB_DATA` in the path is
            expanded. A classifier in the file is ignored.
        out_indices: Indices into timm's list of features; negative indices count from the end. Default: all of stride 4
            and more, or four evenly spaced blocks of a plain transformer including the last. Later layers are removed.
        in_channels: Number of input channels; timm adapts the weights of the first layer.
        img_size: Side or (H, W) of the position embeddings, which are interpolated for other sizes.
        drop_path_rate: Maximum stochastic depth rate, increasing over the layers. Default: that of the timm model.
        out_norm: "final" for the final norm of the timm model on the outputs that it supports (all blocks of a plain
            transformer), "layer" for a new LayerNorm over the channels of each output, or "none".
        frozen_stages: Number of leading groups, starting with the stem, without gradient and in eval mode; -1 for all.
        norm_eval: Keep batch norms in eval mode during training, with trained weight and bias.
        frozen_norms: Keep statistics, weight and bias of batch norms ("FrozenBN" in detectron2).
        grad_checkpointing: Recompute activations in backward instead of storing them; batch norm statistics are then
            updated twice per batch.
        normalize: Normalize images in [0, 1] with `mean` and `std` inside the encoder.
        model_args: Additional arguments of the timm model.

    Attributes:
        channels, strides: Tuples with one entry per output.
        mean, std: Statistics of the pre-training per channel, in [0, 1] units; those of an exported encoder come from
            its file, and CheckpointError is raised if it is missing.

    Raises:
        ConfigError: Unknown name, argument, or index.
        CheckpointError: The file is missing or does not match the model.
    """

    initial_weights: ClassVar[tuple[str, ...]] = ("pretrained",)

    def __init__(
        self,
        *,
        name: str,
        pretrained: bool | str = False,
        out_indices: Sequence[int] | None = None,
        in_channels: int = 3,
        img_size: int | Sequence[int] | None = None,
        drop_path_rate: float | None = None,
        out_norm: Literal["none", "final", "layer"] = "none",
        frozen_stages: int = 0,
        norm_eval: bool = False,
        frozen_norms: bool = False,
        grad_checkpointing: bool = False,
        normalize: bool = False,
        model_args: dict | None = None,
    ) -> None:
        super().__init__()
        check_choice("TimmEncoder: out_norm", out_norm, ("none", "final", "layer"))
        args = dict(model_args or {}, in_chans=in_channels, num_classes=0)
        args.update({"img_size": img_size} if img_size is not None else {})
        args.update({"drop_path_rate": drop_path_rate} if drop_path_rate is not None else {})
        download = pretrained is True and are_loaded()
        self.model = create_model(name, args, owner="TimmEncoder", download=download, alternatives=ANY_SIZE)
        _check_intermediates(self.model, name)
        use_lean_norms(self.model)
        info = list(self.model.feature_info)
        strides, channels = [f["reduction"] for f in info], [f["num_chs"] for f in info]
        self.out_indices = _choose_outputs(name, strides, out_indices)
        self.strides = tuple(strides[i] for i in self.out_indices)
        self.channels = tuple(channels[i] for i in self.out_indices)
        self.name, self.out_norm, self.normalize = name, out_norm, normalize
        self.norm_eval, self.frozen_norms = norm_eval or frozen_norms, frozen_norms
        self._stats = self._find_statistics(pretrained)
        if normalize and in_channels != len(self.mean):
            raise ConfigError(
                f"TimmEncoder: normalize=True knows {len(self.mean)} channels, in_channels={in_channels}: "
                "normalize in the data preprocessor instead"
            )
        self.patch = _patch_size(self.model)

        missing = load_weights(self.model, pretrained) if isinstance(pretrained, str) and are_loaded() else []
        self.model.prune_intermediate_layers(list(self.out_indices), prune_norm=out_norm != "final", prune_head=True)
        lost = [key for key in missing if key in self.model.state_dict()]
        if lost:
            raise CheckpointError(
                f"{pretrained} does not fit timm model {name!r}: {len(lost)} parameters are not in it, "
                f"e.g. {', '.join(lost[:3])}"
            )
        if grad_checkpointing:
            enable_grad_checkpointing(self.model, name, owner="TimmEncoder")
        self.norms = nn.ModuleList(nn.LayerNorm(c) for c in self.channels) if out_norm == "layer" else None
        self._freeze(frozen_stages)

    @property
    def mean(self) -> tuple[float, ...]:
        return tuple(self._statistics("mean"))

    @property
    def std(self) -> tuple[float, ...]:
        return tuple(self._statistics("std"))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps, fine to coarse, of images (B, in_channels, H, W)."""
        if self.normalize:
            stats = (torch.tensor(x, dtype=images.dtype) for x in (self.mean, self.std))
            images = normalize(images, *(x.to(images.device, non_blocking=True) for x in stats))
        height, width = images.shape[-2:]
        below, right = -height % self.patch[0], -width % self.patch[1]
        if below or right:
            images = F.pad(images, (0, right, 0, below))
        maps = self.model.forward_intermediates(
            images, indices=list(self.out_indices), norm=self.out_norm == "final", intermediates_only=True
        )
        if self.norms is not None:
            pairs = zip(self.norms, maps, strict=True)
            maps = [norm(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2) for norm, m in pairs]
        return maps

    def train(self, mode: bool = True) -> "TimmEncoder":
        super().train(mode)
        if mode:
            for module in self._frozen_modules:
                module.eval()
            if self.norm_eval:
                for module in self._batch_norms():
                    module.eval()
        return self

    def _find_statistics(self, pretrained: bool | str) -> Mapping[str, Any] | str:
        """Return `mean` and `std` of timm or of the file; its path if it is missing, but would state others."""
        own = self.model.pretrained_cfg
        if not isinstance(pretrained, str):
            return own
        if are_loaded() or Path(expand(pretrained)).is_file():
            return own | exported_facts(pretrained)
        may_be_exported = num_heads(self.model) and pretrained.endswith(".safetensors")
        return pretrained if may_be_exported else own

    def _statistics(self, which: Literal["mean", "std"]) -> Sequence[float]:
        if isinstance(self._stats, str):
            raise CheckpointError(
                f"{self._stats} is missing. Its weights are in the checkpoint, but mean and std of the images are not: "
                f"put the file there; or, if its weights were timm's for {self.name!r}, set pretrained=False"
            )
        return self._stats[which]

    def _batch_norms(self) -> list[nn.Module]:
        return [m for m in self.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]

    def layer_ids(self) -> dict[str, int]:
        """Return the depth of parameters for layer-wise learning rates: 0 = stem; others have the depth of the head."""
        ids = layer_groups(self.model, coarse=False)
        return {f"model.{name}": depth for name, depth in ids.items()}

    def no_weight_decay(self) -> set[str]:
        """Return names of parameters that timm trains without weight decay (position embeddings, class token, ...)."""
        names = self.model.no_weight_decay() if hasattr(self.model, "no_weight_decay") else ()
        return {f"model.{name}" for name in names}

    def _freeze(self, stages: int) -> None:
        groups = layer_groups(self.model, coarse=True)
        count = max(groups.values()) + 1
        stages = count if stages == -1 else stages
        if not 0 <= stages <= count:
            raise ConfigError(f"TimmEncoder: frozen_stages={stages}, {self.name!r} has 0..{count}, the stem included")
        for name, parameter in self.model.named_parameters():
            if groups[name] < stages:
                parameter.requires_grad_(False)
        if self.frozen_norms:
            for module in self._batch_norms():
                freeze(module)
        frozen = [m for m in self.model.modules() if any(True for _ in m.parameters())]
        self._frozen_modules = [m for m in frozen if not any(p.requires_grad for p in m.parameters())]
        self.train(self.training)


def _check_intermediates(model: nn.Module, name: str) -> None:
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "prune_intermediate_layers"):
        raise ConfigError(f"TimmEncoder: timm model {name!r} has no forward_intermediates")


def _choose_outputs(name: str, strides: list[int], wanted: Sequence[int] | None) -> tuple[int, ...]:
    count = len(strides)
    if wanted is None:
        if strides[0] == strides[-1]:  # a plain transformer
            wanted = sorted({max(round(count * quarter / 4) - 1, 0) for quarter in (1, 2, 3, 4)})
        else:
            wanted = [i for i, stride in enumerate(strides) if stride >= 4]
    chosen = [i + count if i < 0 else i for i in wanted]
    if not chosen or sorted(set(chosen)) != chosen or not 0 <= chosen[0] <= chosen[-1] < count:
        raise ConfigError(
            f"TimmEncoder: out_indices={list(wanted)} must be rising indices below {count}; "
            f"the strides of {name!r} are {strides}"
        )
    return tuple(chosen)


def _patch_size(model: nn.Module) -> tuple[int, int]:
    """Return the patch size, of which the sides must be multiples; 1 for models without patches."""
    size = getattr(getattr(model, "patch_embed", None), "patch_size", 1)
    return (size, size) if isinstance(size, int) else tuple(size)
