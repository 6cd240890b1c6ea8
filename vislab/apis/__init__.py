"""What a notebook user calls: load a config, build a model, train, test, predict. Each is imported when first used."""

from importlib import import_module

_HOME = {
    "load": "build",
    "build_model": "build",
    "train": "training",
    "dry_run": "training",
    "test": "testing",
    "predict": "inference",
    "Predictor": "inference",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
