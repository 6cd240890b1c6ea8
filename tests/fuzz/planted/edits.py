"""One change to a config that is right: in the loaded config, as options of the command, as a file, or as its flags."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

HNERV = "hnerv/hnerv_bunny_160x320_cpu"
DEPTH = "timesnet/timesnet_lite0_lite0_rgbd_kitchen"
SEGMENTS = "timesnet/timesnet_lite0_lite0_camvid"
PYRAMID = "timesnet/fpn_lite0_camvid"
NYU = "timesnet/timesnet_convnextv2_t_convnextv2_t_nyu"
PANOPTIC = "eco_m2f/eco_m2f_lite0_coco_panoptic_cpu"
SEMANTIC = "eco_m2f/eco_m2f_lite0_camvid_cpu"
SCENES = "eco_m2f/eco_m2f_lite0_scenes_cpu"
MIXED = "eco_m2f/eco_m2f_lite0_scenes_mixed_cpu"
INSTANCE = "eco_m2f/mask2former_r50_coco_instance"
ADE = "eco_m2f/mask2former_r50_ade20k_semantic"
TRACT = "tract/cifar10_subset_resnet_sgd_cpu_tract"
PLAIN = "tract/cifar10_subset_resnet_sgd_cpu_plain"
VIT = "tract/cifar10_subset_vit_adam_cpu_plain"
IMAGENET = "tract/imagenet_deit3_vit_small_400ep_plain"

Change = Callable[[dict], None]  # of the loaded config as plain dicts, lists and tuples


def put(place: str, value: Any) -> Change:
    """Set `place`; the last key may be new."""
    return _at(place, lambda holder, key: holder.__setitem__(key, value))


def drop(place: str) -> Change:
    return _at(place, lambda holder, key: holder.pop(key))


def rename(place: str, new: str) -> Change:
    """Misspell the last key of `place`, which must be there."""
    return _at(place, lambda holder, key: holder.__setitem__(new, holder.pop(key)))


def append(place: str, value: Any) -> Change:
    """Add to the list at `place`, which begins empty where there is none."""
    return _at(place, lambda holder, key: holder.__setitem__(key, [*_get(holder, key), value]))


def insert(place: str, value: Any) -> Change:
    """Add before the entry of a list that `place` names."""
    return _at(place, lambda holder, key: holder.insert(key, value))


def both(*changes: Change) -> Change:
    """Several changes that make one case."""

    def change(cfg: dict) -> None:
        for each in changes:
            each(cfg)

    return change


def _get(holder: Any, key: Any) -> Any:
    return holder.get(key) or [] if isinstance(holder, dict) else holder[key]


def _at(place: str, act: Callable[[Any, Any], Any]) -> Change:
    def change(cfg: dict) -> None:
        *path, last = place.split(".")
        holder: Any = cfg
        for key in path:
            step = int(key) if isinstance(holder, list) else key
            if isinstance(holder[step], tuple):
                holder[step] = list(holder[step])
            holder = holder[step]
        act(holder, int(last) if isinstance(holder, list) else last)

    return change


@dataclass(frozen=True)
class Options:
    """`--cfg-options` as they are typed, one word each."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class File:
    """A config file: lines after those that read the case's config as a base, or (`whole`) all its text."""

    text: str
    whole: bool = False
    name: str = "planted.py"


@dataclass(frozen=True)
class Flags:
    """Arguments of `train` beside the config."""

    values: dict[str, Any] = field(default_factory=dict)


def options(*words: str) -> Options:
    return Options(words)


def flags(**values: Any) -> Flags:
    return Flags(values)


class Case(NamedTuple):
    """A config, one edit, what it is, and texts that a message about it contains; "a|b" is one of two.

    Upper and lower case are equal.
    """

    config: str
    edit: Change | Options | File | Flags
    what: str
    names: tuple[str, ...] = ()


def case(config: str, edit: Change | Options | File | Flags, what: str, *names: str) -> Case:
    return Case(config, edit, what, names)
