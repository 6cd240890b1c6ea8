"""Python API: models by name, configs, training, tests, probes, predictions. Functions are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for IDEs and type checkers; imported lazily at run time
    from vislab.apis.build import build_model, load
    from vislab.apis.exporting import export, export_model
    from vislab.apis.inference import predict
    from vislab.apis.models import create_model, list_models
    from vislab.apis.prediction import Prediction
    from vislab.apis.predictor import Predictor
    from vislab.apis.probing import probe
    from vislab.apis.testing import test
    from vislab.apis.tiles import Tiles
    from vislab.apis.training import dry_run, train

_HOME = {
    "load": "build",
    "build_model": "build",
    "export": "exporting",
    "export_model": "exporting",
    "train": "training",
    "dry_run": "training",
    "test": "testing",
    "probe": "probing",
    "create_model": "models",
    "list_models": "models",
    "predict": "inference",
    "Prediction": "prediction",
    "Predictor": "predictor",
    "Tiles": "tiles",
}
__all__ = [
    "Prediction",
    "Predictor",
    "Tiles",
    "build_model",
    "create_model",
    "dry_run",
    "export",
    "export_model",
    "list_models",
    "load",
    "predict",
    "probe",
    "test",
    "train",
]


if not TYPE_CHECKING:  # type checkers would take every name for known

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
