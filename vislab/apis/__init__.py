"""Python API: load a config, build a model, train, test, probe, predict. Functions are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for IDEs and type checkers; imported lazily at run time
    from vislab.apis.build import build_model, load
    from vislab.apis.inference import Predictor, predict
    from vislab.apis.probing import probe
    from vislab.apis.testing import test
    from vislab.apis.tiles import Tiles
    from vislab.apis.training import dry_run, train

_HOME = {
    "load": "build",
    "build_model": "build",
    "train": "training",
    "dry_run": "training",
    "test": "testing",
    "probe": "probing",
    "predict": "inference",
    "Predictor": "inference",
    "Tiles": "tiles",
}
__all__ = ["Predictor", "Tiles", "build_model", "dry_run", "load", "predict", "probe", "test", "train"]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
