"""Compare the class names of training, validation and test data, the model, and the checkpoint.

Labels are indices into a list of names. Lists of the same length can have different classes, so comparing their lengths
is not sufficient.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.runner import BaseLoop, TestLoop, ValLoop

from vislab.errors import CheckpointError, ConfigError, VislabError
from vislab.registry import DATASETS


class ClassList(NamedTuple):
    """Class names in label order, and the name of their owner for messages."""

    owner: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.owner}: {len(self.names)} classes: {_some(self.names)}"


def class_lists(dataset: Any) -> list[ClassList]:
    """Return the class lists of a dataset or of the datasets it wraps; none for a dataset without classes."""
    parts = getattr(dataset, "datasets", None)
    if isinstance(parts, Sequence):
        return [found for part in parts for found in class_lists(part)]
    inner = getattr(dataset, "dataset", None)
    if inner is not None:
        return class_lists(inner)
    names = _names(getattr(dataset, "metainfo", None))
    places = [str(getattr(dataset, key, "") or "") for key in ("data_root", "split", "ann_file")]
    source = next((place for place in reversed(places) if place), "")
    owner = type(dataset).__name__ + (f" ({source})" if source else "")
    return [] if names is None else [ClassList(owner, names)]


def dataset_meta(dataset: Any) -> dict | None:
    """Return the metainfo of a dataset, or of the first wrapped dataset that has one."""
    while dataset is not None:
        meta = getattr(dataset, "metainfo", None)
        if meta is not None:
            return meta
        parts = getattr(dataset, "datasets", None)
        dataset = parts[0] if parts else getattr(dataset, "dataset", None)
    return None


def difference(expected: ClassList, found: ClassList) -> str | None:
    """Return a description of the difference of two lists; None if they are equal."""
    if expected.names == found.names:
        return None
    lacking = [name for name in expected.names if name not in found.names]
    more = [name for name in found.names if name not in expected.names]
    parts = [f"it lacks {_some(lacking)}"] if lacking else []
    parts += [f"it has {_some(more)} besides"] if more else []
    if not parts:
        place = next(i for i, pair in enumerate(zip(expected.names, found.names, strict=True)) if pair[0] != pair[1])
        parts = [f"the order differs: label {place} is {expected.names[place]!r} there and {found.names[place]!r} here"]
    return "; ".join(parts)


def build_dataset(config: Mapping[str, Any]) -> Any:
    """Build a dataset from its config; raises ConfigError if the parts of a concatenation have different classes."""
    try:
        dataset = DATASETS.build(config)
        if hasattr(dataset, "full_init"):
            dataset.full_init()
        return dataset
    except (ValueError, TypeError, KeyError) as error:  # raised by mmengine's ConcatDataset
        parts = config.get("datasets") or ()
        if isinstance(error, VislabError) or not parts:
            raise
        compare_parts([found for part in parts for found in class_lists(ROOT_DATASETS.build(part))])
        raise


def compare_parts(lists: Sequence[ClassList]) -> None:
    """Raise ConfigError if datasets that are concatenated have different classes."""
    for found in lists[1:]:
        _compare(lists[0], found, "datasets that are read as one name other classes")


def check_class_lists(cfg: Config | Mapping[str, Any], datasets: Mapping[str, Any]) -> None:
    """Compare the class lists of the datasets of a run with each other and with `num_classes` of the model.

    Models without `num_classes` are not checked.

    Args:
        cfg: The run's config.
        datasets: Built datasets by split: "training", "validation", "test".

    Raises:
        ConfigError: The lists differ, or their length is not the number of classes of the model.
    """
    if not _predicts_classes(cfg):
        return
    first: ClassList | None = None
    for split, dataset in datasets.items():
        lists = class_lists(dataset)
        compare_parts(lists)
        if not lists:
            continue
        found = ClassList(f"{split} data, {lists[0].owner}", lists[0].names)
        if first is None:
            first = found
        _compare(first, found, f"the classes of the {split} data are others")
        wrong = list(compare_counts(cfg, found.names, found.owner))
        if wrong and split == "training":
            raise ConfigError("\n".join(f"{place} = {count}\n      {text}" for place, count, text in wrong))
        if wrong:  # what the model was trained on is not to be changed
            raise ConfigError(f"{wrong[0][0]} = {wrong[0][1]}, which is another number than the {found}\n{_REMEDY}")


def check_loop(runner: Any, loop: BaseLoop) -> BaseLoop:
    """Return a new `loop` after `check_class_lists` of its dataset and of the loops that were built before."""
    split = next(name for name, kind in _SPLITS.items() if isinstance(loop, kind))
    before = {"training": runner._train_loop, "validation": runner._val_loop, "test": runner._test_loop}
    datasets = {name: other.dataloader.dataset for name, other in before.items() if isinstance(other, BaseLoop)}
    check_class_lists(runner.cfg, datasets | {split: loop.dataloader.dataset})
    return loop


def check_loaded(runner: Any, checkpoint: Mapping[str, Any], path: str, *, strict: bool) -> None:
    """Call `check_checkpoint_classes` with the dataset of the runner; differences that are not errors are logged."""
    loops = (runner._train_loop, runner._test_loop, runner._val_loop)
    dataset = next((loop.dataloader.dataset for loop in loops if isinstance(loop, BaseLoop)), None)
    text = check_checkpoint_classes(runner.cfg, dataset, checkpoint, path, strict=strict)
    if text is not None:
        runner.logger.warning(text)


def check_checkpoint_classes(
    cfg: Config | Mapping[str, Any], dataset: Any, checkpoint: Mapping[str, Any], path: str, *, strict: bool
) -> str | None:
    """Compare the classes of a checkpoint with those of the dataset it is used for.

    Args:
        cfg: The run's config.
        dataset: The dataset for testing, or for resumed training.
        checkpoint: Return value of `load_checkpoint`; it is not checked without class names.
        path: Its path, for messages.
        strict: Whether different classes are an error, which they are not for weights to initialize a new training run.

    Returns:
        A description of the difference if it is not an error, else None.

    Raises:
        CheckpointError: The lists differ.
    """
    names = checkpoint_classes(checkpoint)
    lists = class_lists(dataset)
    if names is None or not lists or not _predicts_classes(cfg):
        return None
    trained = ClassList(f"trained on ({path})", names)
    text = difference(trained, lists[0])
    if text is None:
        return None
    message = (
        f"{path} was trained on other classes than the data has, and labels are places in the list of names; of the "
        f"data, {text}.\n  {trained}\n  {lists[0]}\n"
    )
    if strict:
        raise CheckpointError(message + _REMEDY)
    return message + "This is right for fine-tuning on new classes only."


def checkpoint_classes(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the class names in a checkpoint, if any."""
    meta = checkpoint.get("meta")
    return _names(meta.get("dataset_meta")) if isinstance(meta, Mapping) else None


def warn_other_classes(config_meta: Mapping[str, Any], trained_meta: Mapping[str, Any], path: str) -> None:
    """Warn if the classes of a config differ from those of the checkpoint, which are used."""
    names, trained = _names(config_meta), _names(trained_meta)
    if names is not None and trained is not None and names != trained:
        expected, found = ClassList(f"trained on ({path})", trained), ClassList("the config's test data", names)
        print_log(
            "predictions are named as in the checkpoint, which was trained on other classes than the config's data "
            f"has; of the data, {difference(expected, found)}.\n  {expected}\n  {found}",
            logger="current",
            level=logging.WARNING,
        )


def compare_counts(cfg: Config | Mapping[str, Any], classes: Any, owner: str) -> Iterator[tuple[str, int, str]]:
    """Yield place, value and fix of each `num_classes` in the model config that is not the number of `classes`."""
    if not isinstance(classes, (list, tuple)):
        return
    for place, count in _numbers(cfg.get("model"), "model"):
        if count not in (0, len(classes)):
            yield (place, count, f"{owner} has {len(classes)} classes; did you mean {len(classes)}?")


_SPLITS = {"validation": ValLoop, "test": TestLoop, "training": BaseLoop}  # the first that fits
_REMEDY = (
    "Set the class list of the model in the dataset, dataset=dict(metainfo=dict(classes=[...])): its labels are "
    "then places in that list, and classes without an image may stay in it."
)


def _compare(expected: ClassList, found: ClassList, what: str) -> None:
    text = difference(expected, found)
    if text is not None:
        raise ConfigError(
            f"{what}, and labels are places in the list of names; {text}.\n  {expected}\n  {found}\n{_REMEDY}"
        )


def _predicts_classes(cfg: Config | Mapping[str, Any]) -> bool:
    model = cfg.get("model")
    return not isinstance(model, Mapping) or any(count for _, count in _numbers(model, "model"))


def _names(meta: Any) -> tuple[str, ...] | None:
    if not isinstance(meta, Mapping):
        return None
    classes = meta.get("classes", meta.get("CLASSES"))
    return tuple(map(str, classes)) if isinstance(classes, (list, tuple)) and classes else None


def _numbers(node: Any, place: str) -> Iterator[tuple[str, int]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, value in items:
        if key == "num_classes" and isinstance(value, int):
            yield f"{place}.{key}", value
        yield from _numbers(value, f"{place}.{key}")


def _some(names: Sequence[str], limit: int = 6) -> str:
    return ", ".join(repr(name) for name in names[:limit]) + (
        f" and {len(names) - limit} more" if len(names) > limit else ""
    )
