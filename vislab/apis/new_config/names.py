"""Names of classes that labels number: from classes.txt, or from the data.yaml of YOLO's tools."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from vislab.datasets.class_list import checked_names
from vislab.errors import DataError

_YAML = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def named_classes(root: Path, number: int, notes: list[str]) -> tuple[str, ...]:
    """Return the names of `number` classes in the folder `root`; class0, class1, ... if there are none.

    Args:
        root: A folder, with one name per line in classes.txt, or a list or dict `names` in data.yaml.
        number: Number of classes that the labels contain; the file may name more.
        notes: Where the names come from is appended.

    Raises:
        DataError: There are fewer names than classes, a name occurs twice, or the file is damaged.
    """
    for path in (root / name for name in ("classes.txt", *_YAML)):
        names = _read(path) if path.is_file() else None
        if names is None:
            continue
        if len(names) < number:
            raise DataError(f"{path} has {len(names)} names, but the labels contain class {number - 1}")
        notes.append(f"the names of the classes are those of {path.name}.")
        return checked_names(names, f"{path}: classes")
    notes.append("the labels are numbers: replace class0, class1, ... by names, or add a classes.txt to the folder.")
    return tuple(f"class{index}" for index in range(number))


def _read(path: Path) -> list[str] | None:
    """Return the names in a file; None for a .yaml without names."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            return [line.strip() for line in text.splitlines() if line.strip()]
        content = yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    names = content.get("names") if isinstance(content, Mapping) else None
    if isinstance(names, Mapping):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(f"{path}: the keys of `names` are {list(names)[:5]}...; expected 0, 1, 2, ...")
        names = [names[index] for index in range(len(names))]
    return None if names is None else [str(name) for name in names]
