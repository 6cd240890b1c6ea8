"""Builds the single transforms of `Albu` from dicts, and refuses those that contradict how images and labels travel.

Images stay uint8 RGB from the file to the model's data preprocessor, which normalizes them. Maps of labels travel coded
so that 0 means "unknown", and `Albu` undoes that coding afterwards: no step may fill them with another value.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import cv2

from vislab.errors import ConfigError, did_you_mean

_NORMALIZED = "images stay uint8, 0..255, and the model's data_preprocessor normalizes them: give it mean and std"
_TENSOR = "PackInputs makes the tensor"
_ABSTRACT = "it is the base of other transforms and does nothing itself"
_REFUSED = {
    "Normalize": _NORMALIZED,
    "ToFloat": _NORMALIZED,
    "FromFloat": _NORMALIZED,
    "ToTensorV2": _TENSOR,
    "ToTensor3D": _TENSOR,
    "ReplayCompose": "draws come from the sample's own random state, which repeats them",
    **dict.fromkeys(("BasicTransform", "DualTransform", "ImageOnlyTransform", "Transform3D", "BaseCompose"), _ABSTRACT),
}
_FILLS = ("fill_mask", "mask_drop_value")
_NEAREST = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
# what a sample always contains; labels are there or not
_GIVEN = {"image", "bboxes", "keypoints"}


def build_step(library, step: Mapping[str, Any], place: str):
    """One albumentations object from its dict; the library itself only warns about arguments it does not know.

    Args:
        library: The module albumentations.
        step: `name` and arguments; compositions hold dicts of the same form.
        place: Where the dict stands, for messages.

    Raises:
        ConfigError: an unknown name or argument, or a transform that would change the kind of the image or the coding
            of labels.
    """
    arguments = dict(step)
    name = arguments.pop("name", None)
    kind = getattr(library, name, None) if isinstance(name, str) else None
    if not (inspect.isclass(kind) and issubclass(kind, (library.BasicTransform, library.BaseCompose))):
        names = [n for n in dir(library) if inspect.isclass(getattr(library, n)) and n[0].isupper()]
        raise ConfigError(f"Albu: {place}.name={name!r} is no albumentations transform{did_you_mean(str(name), names)}")
    if name in _REFUSED:
        raise ConfigError(f"Albu: {place} ({name}) has no place here: {_REFUSED[name]}. Remove the step")
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
                    f"Albu: {place}.{key}={arguments[key]!r}: Albu itself says how boxes, points and masks are "
                    "treated; a Compose inside takes transforms and p only"
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
                f"Albu: {place} ({name}) moves channels of the image only, not its labels: {type(moving).__name__} has "
                "no place in it"
            )
    for key in ("first", "second"):  # OneOrOther
        if isinstance(arguments.get(key), Mapping):
            arguments[key] = build_step(library, arguments[key], f"{place}.{key}")


def _check_labels(name: str, arguments: dict[str, Any], place: str) -> None:
    """Brings fill values of labels to the 0 that stands for "unknown" on the way, and refuses other codings."""
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
            f"Albu: {place}.mask_interpolation={interpolation!r}: between two classes lies no third one; labels move "
            "by nearest neighbor. Remove the argument"
        )
    channels = arguments.get("num_output_channels", 3)
    if channels != 3:
        text = f"images have three channels here; with 3, {name} repeats gray in all of them"
        raise ConfigError(f"Albu: {place}.num_output_channels={channels!r}: {text}")


def _means_unknown(value: Any) -> bool:
    """Whether a fill is 0 or 255, as a number or for each channel: both are written for pixels without a label."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return all(isinstance(v, int | float) and v in (0, 255) for v in values)


def _check_targets(built: Any, name: str, place: str) -> None:
    if "image" not in built.targets:
        raise ConfigError(f"Albu: {place} ({name}) changes volumes only, not images. Remove the step")
    missing = sorted(set(built.targets_as_params) - _GIVEN)
    if missing:
        raise ConfigError(
            f"Albu: {place} ({name}) needs {', '.join(missing)} beside the image, which a pipeline of single samples "
            "does not give. Remove the step"
        )
