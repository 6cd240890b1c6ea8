"""Creating timm models, filling them from files, and grouping their parameters: what encoder and classifier share."""

import sys
from collections.abc import Collection, Sequence

from torch import Tensor, nn

from vislab.errors import CheckpointError, ConfigError, nearest
from vislab.io.weights import check_types, read_weights


def create_model(
    name: str, args: dict, *, owner: str, download: bool, alternatives: Sequence[dict] = ({},)
) -> nn.Module:
    """`timm.create_model(name, **args)` with errors that name the remedy.

    Args:
        name: timm model name.
        args: arguments of the model.
        owner: class that asks, for messages.
        download: take timm's own weights.
        alternatives: further arguments; the first set that the model knows is used.

    Raises:
        ConfigError: unknown name or argument.
        CheckpointError: timm's weights cannot be had.
    """
    import timm  # a second of import time, spared where no timm model is built

    if not timm.is_model(name):
        close = nearest(name.split(".")[0], timm.list_models(), count=3)
        hint = f"; nearest: {', '.join(close)}" if close else "; timm.list_models('*part*') lists names"
        raise ConfigError(f"{owner}: timm {timm.__version__} has no model {name!r}{hint}")
    for extra in alternatives:
        try:
            return timm.create_model(name, pretrained=download, **extra, **args)
        except TypeError as error:
            if not any(key in str(error) for key in extra):
                raise ConfigError(f"{owner}: timm model {name!r}: {error}") from error
        except Exception as error:
            if not download:
                raise
            raise CheckpointError(
                f"timm has no weights for {name!r} or cannot fetch them ({error}); "
                "give pretrained=PATH of a file or pretrained=False"
            ) from error
    raise ConfigError(f"{owner}: timm model {name!r} takes none of {[list(extra) for extra in alternatives]}")


def load_weights(model: nn.Module, path: str, *, optional: Collection[str] = ()) -> list[str]:
    """Load a file of timm's, or of a model that contains such a network. Returns the names that were not taken from it.

    Args:
        model: a timm model.
        path: see `read_weights`.
        optional: parameters that are left as they are when the file has another shape: a head of other classes.

    Raises:
        CheckpointError: nothing in the file has this model's names, or shapes or number types differ.
    """
    state = read_weights(path)
    first = next(iter(model.state_dict()))
    prefix = next((key[: -len(first)] for key in state if key.endswith("." + first)), "")
    state = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is not None:  # older layouts of the same model, position embeddings of another size ...
        try:
            state = convert(state, model)
        except Exception as error:  # timm's converters expect the shapes they know
            raise CheckpointError(
                f"{path} does not fit this timm model: timm cannot convert it ({type(error).__name__}: {error})"
            ) from error
    own = model.state_dict()
    state = {k: v for k, v in state.items() if not (k in optional and _differs(own, state, k))}
    wrong = [f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}" for k in own if _differs(own, state, k)]
    if wrong or not any(key in state for key in own):
        reason = f"shapes differ: {', '.join(wrong[:3])}" if wrong else f"none of its {len(state)} names is known"
        raise CheckpointError(f"{path} does not fit this timm model: {reason}")
    check_types(own, state, path)
    return model.load_state_dict({k: v for k, v in state.items() if k in own}, strict=False).missing_keys


def _differs(own: dict[str, Tensor], state: dict[str, Tensor], key: str) -> bool:
    return key in own and key in state and state[key].shape != own[key].shape


def layer_groups(model: nn.Module, *, coarse: bool) -> dict[str, int]:
    """Parameter name -> its place from the stem (0) on: by stages, or by layers when not coarse."""
    from timm.models import group_parameters

    return group_parameters(model, model.group_matcher(coarse=coarse), reverse=True)


def enable_grad_checkpointing(model: nn.Module, name: str, *, owner: str) -> None:
    """Gradient checkpointing of a timm model.

    Raises:
        ConfigError: the model has none.
    """
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError):
        raise ConfigError(f"{owner}: timm model {name!r} cannot do grad_checkpointing=True") from None
