"""Write the config of config_base.py, and change one value of a config by its dotted key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers import HELPERS


def write_base(folder: Path) -> Path:
    """The right config and the data it names."""
    data = folder / "data"
    (data / "images").mkdir(parents=True)
    (data / "train.json").write_text("{}")
    path = folder / "base.py"
    path.write_text((HELPERS / "config_base.py").read_text().replace("DATA_ROOT", str(data)))
    return path


def put(place: str, value: Any) -> Callable[[dict], None]:
    def change(cfg: dict) -> None:
        *path, last = place.split(".")
        for key in path:
            cfg = cfg[int(key)] if isinstance(cfg, list) else cfg[key]
        cfg[int(last) if isinstance(cfg, list) else last] = value

    return change


def rename(place: str, name: str) -> Callable[[dict], None]:
    def change(cfg: dict) -> None:
        *path, last = place.split(".")
        for key in path:
            cfg = cfg[int(key)] if isinstance(cfg, list) else cfg[key]
        cfg[name] = cfg.pop(last)

    return change


def drop(place: str) -> Callable[[dict], None]:
    def change(cfg: dict) -> None:
        *path, last = place.split(".")
        for key in path:
            cfg = cfg[int(key)] if isinstance(cfg, list) else cfg[key]
        del cfg[last]

    return change
