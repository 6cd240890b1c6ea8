"""Build the albumentations transforms of `Albu` from dicts; transforms that do not fit the pipeline raise ConfigError.

Images are uint8 RGB until the data preprocessor of the model normalizes them. Label maps are encoded with 0 = unknown,
so no transform may fill them with another value.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import cv2

from vislab.errors import ConfigError, did_you_mean

_NORMALIZED = "images are uint8, and the model's data_preprocessor normalizes them: set its mean and std"
_TENSOR = "PackInputs creates the tensor"
_ABSTRACT = "it is an abstract base class"
_REFUSED = {
    "Normalize": _NORMALIZED,
    "ToFloat": _NORMALIZED,
    "FromFloat": _NORMALIZED,
    "ToTensorV2": _TENSOR,
    "ToTensor3D": _TENSOR,
    "ReplayCompose": "random parameters are reproducible from the seed of the sample",
    **dict.fromkeys(("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D", "BaseCompose"), _ABSTRACT),
}
_FILLS = ("fill_mask", "mask_drop_value")
_NEAREST = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
# targets that are always present; labels are optional
_GIVEN = {"image", "bboxes", "keypoints"}


def build_step(library, step: Mapping[str, Any], place: str):
    """Build an albumentations transform from a dict; albumentations itself only warns about unknown arguments.

    Args:
        library: The albumentations module.
        step: `name` and arguments; compositions contain dicts of the same form.
        place: Position in the config, for error messages.

    Raises:
        ConfigError: Unknown name or argument, or a transform that would change the type of the image or the encoding of
            labels.
    """
    arguments = dict(step)
    name = arguments.pop("name", None)
    kind = getattr(library, name, None) if isinstance(name, str) else None
    if not (inspect.isclass(kind) and issubclass(kind, (library.BasicTransform, library.BaseCompose))):
        names = [n for n in dir(library) if inspect.isclass(getattr(library, n)) and n[0].isupper()]
        raise ConfigError(
            f"Albu: {place}.name={name!r} is not an albumentations transform{did_you_mean(str(name), names)}"
        )
    if name in _REFUSED:
        raise ConfigError(f"Albu: {place} ({name}) is not supported: {_REFUSED[name]}. Remove it")
    known = [p for p in inspect.signature(kind.__init__).parameters if p not in ("self", "args", "kwargs")]
    for key in arguments:
        if key not in known:
            raise ConfigError(
                f"Albu: {place}.{key}={arguments[key]!r}: {name} takes {', '.join(known)}{did_you_mean(key, known)}"
            )
    if issubclass(kind, library.BaseCompose):
        _build_parts(library, name, arguments, place)
    else:
        _check_labels(name, arguments, place)
    try:
        built = kind(**arguments)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ConfigError(f"Albu: {place} ({name}) cannot be built: {error}") from error
    if not issubclass(kind, library.BaseCompose):
        _check_targets(built, name, place)
    return built


def _build_parts(library, name: str, arguments: dict[str, Any], place: str) -> None:
    if name == "Compose":
        for key in arguments:
            if key not in ("transforms", "p"):
                raise ConfigError(
                    f"Albu: {place}.{key}={arguments[key]!r}: boxes, keypoints and masks are configured by "
                    "Albu; a nested Compose takes only transforms and p"
                )
    inner = arguments.get("transforms")
    if inner is not None:
        if not isinstance(inner, list | tuple) or not all(isinstance(part, Mapping) for part in inner):
            raise ConfigError(f"Albu: {place}.transforms={inner!r}: expected a list of dicts with a name")
        parts = [build_step(library, part, f"{place}.transforms[{i}]") for i, part in enumerate(inner)]
        arguments["transforms"] = parts
        moving = next((p for p in parts if not isinstance(p, library.ImageOnlyTransform)), None)
        if name == "SelectiveChannelTransform" and moving is not None:
            raise ConfigError(
                f"Albu: {place} ({name}) transforms the channels of the image only, not its labels: it cannot contain "
                f"{type(moving).__name__}"
            )
    for key in ("first", "second"):  # OneOrOther
        if isinstance(arguments.get(key), Mapping):
            arguments[key] = build_step(library, arguments[key], f"{place}.{key}")


def _check_labels(name: str, arguments: dict[str, Any], place: str) -> None:
    """Set fill values of labels to 0, their encoded "unknown" value; raise ConfigError for other values."""
    for key in _FILLS:
        value = arguments.get(key)
        if value is None:
            continue
        if not _means_unknown(value):
            raise ConfigError(
                f"Albu: {place}.{key}={value!r}: uncovered pixels become 255 (ignored) in semantic maps and 0 "
                "(unknown) in panoptic maps, depth and masks. Remove the argument"
            )
        arguments[key] = 0
    interpolation = arguments.get("mask_interpolation", cv2.INTER_NEAREST)
    if interpolation not in _NEAREST:
        raise ConfigError(
            f"Albu: {place}.mask_interpolation={interpolation!r}: labels need nearest-neighbor interpolation. "
            "Remove the argument"
        )
    channels = arguments.get("num_output_channels", 3)
    if channels != 3:
        text = f"images have three channels; with 3, {name} repeats gray in all of them"
        raise ConfigError(f"Albu: {place}.num_output_channels={channels!r}: {text}")


def _means_unknown(value: Any) -> bool:
    """Return whether a fill value is 0 or 255, as a number or per channel, which both mean pixels without a label."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return all(isinstance(v, int | float) and v in (0, 255) for v in values)


def _check_targets(built: Any, name: str, place: str) -> None:
    if "image" not in built.targets:
        raise ConfigError(f"Albu: {place} ({name}) transforms volumes only, not images. Remove it")
    missing = sorted(set(built.targets_as_params) - _GIVEN)
    if missing:
        raise ConfigError(
            f"Albu: {place} ({name}) needs {', '.join(missing)} in addition to the image, which the pipeline does not "
            "provide. Remove it"
        )
