"""vislab: published computer vision systems with shared datasets, tools and checkpoints, on torch and mmengine.

The package itself imports nothing; import parts from their modules. `create_model`, `list_models` and `Predictor` are
those of `vislab.apis`, imported when they are first used. VISLAB_OFFLINE holds for the hub too, if vislab is imported
before huggingface_hub.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for IDEs and type checkers
    from vislab.apis import Predictor, create_model, list_models

if os.environ.get("VISLAB_OFFLINE"):  # for the weights of timm, which come through the hub
    os.environ.setdefault("HF_HUB_OFFLINE", "1")

__version__ = "0.2.0"
__all__ = ["Predictor", "__version__", "create_model", "list_models"]


if not TYPE_CHECKING:  # type checkers would take every name for known

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module("vislab.apis"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
