"""Functions for timm models: creation, loading of weights, grouping of parameters."""

import json
import math
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from vislab.errors import CheckpointError, ConfigError, DataError, nearest
from vislab.io.checkpoint import read_metadata
from vislab.io.download import fetch, file_name, is_address, is_offline
from vislab.io.hub import hub_rules
from vislab.io.weights import check_types, read_weights

ARCHITECTURE_KEY = "vislab_encoder"
"""Metadata of exported encoders: what the tensors do not show, such as the number of heads, and timm's arguments."""
_DIGITS = re.compile(r"-([0-9a-f]{8,})\.")  # of the SHA256, in names of timm's files


def create_model(
    name: str, args: dict, *, owner: str, download: bool, alternatives: Sequence[dict] = ({},)
) -> nn.Module:
    """Call `timm.create_model(name, **args)` with helpful errors.

    Args:
        name: timm model name.
        args: Arguments of the model.
        owner: Name of the calling class in messages.
        download: Use timm's pre-trained weights.
        alternatives: Sets of additional arguments, of which the first one supported by the model is used.

    Raises:
        ConfigError: Unknown name, tag or argument.
        CheckpointError: timm's weights are not available.
    """
    import timm  # imported late: takes a second

    if not timm.is_model(name):
        close = nearest(name.split(".")[0], timm.list_models(), count=3)
        hint = f"; nearest: {', '.join(close)}" if close else "; timm.list_models('*part*') lists names"
        raise ConfigError(f"{owner}: timm {timm.__version__} has no model {name!r}{hint}")
    try:
        timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # the part after the dot
        known = timm.list_pretrained(f"{name.split('.')[0]}.*")
        raise ConfigError(f"{owner}: {error} Expected {' or '.join(known) or 'no tag'}") from error
    if download:
        _download_plain(name)
    for extra in alternatives:
        try:
            with hub_rules():
                return timm.create_model(name, pretrained=download, **extra, **args)
        except TypeError as error:
            if not any(key in str(error) for key in extra):
                raise ConfigError(f"{owner}: timm model {name!r}: {error}") from error
        except Exception as error:
            if not download:
                raise
            raise CheckpointError(_no_weights(name, error)) from error
    raise ConfigError(f"{owner}: timm model {name!r} takes none of {[list(extra) for extra in alternatives]}")


def _download_plain(name: str) -> None:
    """Download timm's weights that are not on the hub to the place where timm looks for them.

    Raises:
        CheckpointError: They cannot be downloaded, or VISLAB_OFFLINE is set.
    """
    import timm

    cfg = timm.get_pretrained_cfg(name)
    if cfg is None or not is_address(cfg.url) or cfg.hf_hub_id:
        return
    target = Path(torch.hub.get_dir()) / "checkpoints" / file_name(cfg.url)
    digits = _DIGITS.search(target.name)
    try:
        fetch(cfg.url, target, sha256=digits and digits[1], by_hand="use pretrained=PATH")
    except DataError as error:
        raise CheckpointError(f"weights of timm's {name!r}: {error}") from error


def _no_weights(name: str, error: Exception) -> str:
    """Return the message for weights that timm could not load."""
    import timm

    hub = getattr(timm.get_pretrained_cfg(name), "hf_hub_id", None)
    if hub and is_offline():
        return (
            f"VISLAB_OFFLINE is set, but the weights of timm's {name!r} are not in the cache of the hub: download them "
            f"where there is a network (hf download {hub}), and use pretrained=PATH, or pretrained=False"
        )
    return (
        f"timm has no weights for {name!r} or cannot download them ({error}); use pretrained=PATH or pretrained=False"
    )


def load_weights(model: nn.Module, path: str, *, optional: Collection[str] = ()) -> list[str]:
    """Load weights of timm, or of a model with a timm model inside; returns the names of missing parameters.

    Args:
        model: A timm model.
        path: See `read_weights`.
        optional: Parameters that keep their values if the shape in the file differs, such as the head.

    Raises:
        CheckpointError: No name in the file matches, or shapes or number types differ.
    """
    state = read_weights(path)
    first = next(iter(model.state_dict()))
    # the shortest match: a ResNet has conv1.weight in the stem and in each block
    places = (key[: -len(first)] for key in state if key == first or key.endswith("." + first))
    prefix = min(places, key=len, default="")
    state = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:  # converts older layouts, position embeddings of another size, ...
        try:
            state = convert(state, model)
        except Exception as error:  # timm's converters expect specific shapes
            raise CheckpointError(
                f"{path} does not fit this timm model: timm cannot convert it ({type(error).__name__}: {error})"
            ) from error
    own = model.state_dict()
    _check_architecture(model, state, path)
    state = {k: v for k, v in state.items() if not (k in optional and _differs(own, state, k))}
    wrong = [f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}" for k in own if _differs(own, state, k)]
    if wrong or not any(key in state for key in own):
        reason = f"shapes differ: {', '.join(wrong[:3])}" if wrong else f"none of its {len(state)} names is known"
        raise CheckpointError(f"{path} does not fit this timm model: {reason}")
    check_types(own, state, path)
    return model.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False).missing_keys


def exported_facts(path: str) -> dict:
    """Return what the file of an exported encoder says of it: num_heads, depth, mean and std; empty for other files.

    Raises:
        CheckpointError: The file or this part of it is damaged.
    """
    text = read_metadata(path).get(ARCHITECTURE_KEY)
    if text is None:
        return {}
    try:
        facts = json.loads(text)
        whole = all(isinstance(facts[key], int) for key in ("num_heads", "depth"))
        whole &= all(all(math.isfinite(value) for value in facts[key]) for key in ("mean", "std"))
    except (ValueError, TypeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise CheckpointError(
            f"{path} is damaged: its entry {ARCHITECTURE_KEY!r}, which should state num_heads, depth, mean and std, is "
            f"{text[:80]!r}. Copy the file again, or export the encoder again with tools/export_encoder.py"
        )
    return facts


def num_heads(model: nn.Module) -> int:
    """Return the heads in a block of a plain vision transformer, 0 for other models."""
    first = next(iter(getattr(model, "blocks", ())), None)
    return getattr(getattr(first, "attn", None), "num_heads", 0)


def _check_architecture(model: nn.Module, state: Mapping[str, Tensor], path: str) -> None:
    """Raise CheckpointError for weights that fit by their shapes, but belong to another computation."""
    facts = exported_facts(path)
    blocks = getattr(model, "blocks", ())
    own = {"num_heads": num_heads(model), "depth": len(blocks)}
    for key, what in (("num_heads", "heads"), ("depth", "blocks")):
        if facts and own[key] != facts[key]:
            raise CheckpointError(
                f"{path} is an encoder with {facts[key]} {what}, the timm model has {own[key]}: its outputs would be "
                f"others. Create it with model_args=dict({key}={facts[key]})"
            )
    if "blocks.0.attn.q_bias" in state and "blocks.0.attn.qkv.bias" in model.state_dict():
        raise CheckpointError(
            f"{path} is a checkpoint of masked pre-training, whose ViT has other names than timm's: export it with "
            "tools/export_encoder.py, and use the exported file"
        )
    lost = [key for key in state if key.endswith((".ls1.gamma", ".ls2.gamma")) and key not in model.state_dict()]
    if lost and hasattr(model, "blocks"):
        raise CheckpointError(
            f"{path} has layer scales, the timm model has none, e.g. {lost[0]}: create it with init_values, such as "
            "model_args=dict(init_values=1e-5); the values come from the file"
        )


def _differs(own: dict[str, Tensor], state: dict[str, Tensor], key: str) -> bool:
    return key in own and key in state and state[key].shape != own[key].shape


def layer_groups(model: nn.Module, *, coarse: bool) -> dict[str, int]:
    """Return the depth of each parameter by name, starting at 0 for the stem, in stages if `coarse`, else in layers."""
    from timm.models import group_parameters

    return group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)


def enable_grad_checkpointing(model: nn.Module, name: str, *, owner: str) -> None:
    """Enable gradient checkpointing of a timm model.

    Raises:
        ConfigError: The model does not support it.
    """
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError):
        raise ConfigError(f"{owner}: timm model {name!r} does not support grad_checkpointing=True") from None
