"""Replace mmengine's checkpoint loaders by `vislab.io.checkpoint` when this module is imported.

mmengine's Runner, EMA hook and `init_cfg` with `Pretrained` use `CheckpointLoader`, whose default loaders unpickle
arbitrary objects.
"""

import difflib
from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models

from vislab.errors import CheckpointError
from vislab.io.checkpoint import load_checkpoint, load_from_http


def _load_torchvision(filename: str, map_location: Any = "cpu") -> dict:
    name = filename.split("://", 1)[1]
    urls = get_torchvision_models()
    if name not in urls:
        raise CheckpointError(
            f"torchvision has no weights {name!r}. Similar names: {difflib.get_close_matches(name, urls) or 'none'}"
        )
    return load_from_http(urls[name], map_location)


def _refuse_scheme(filename: str, map_location: Any = "cpu") -> dict:
    raise CheckpointError(f"{filename}: this type of URL is not supported. Download the file and use its path.")


def install_loaders() -> None:
    """Replace all loaders of mmengine."""
    for prefix in list(CheckpointLoader._schemes):
        CheckpointLoader.register_scheme(prefix, _refuse_scheme, force=True)
    CheckpointLoader.register_scheme("", load_checkpoint, force=True)
    CheckpointLoader.register_scheme(("http://", "https://"), load_from_http, force=True)
    CheckpointLoader.register_scheme(("torchvision://", "modelzoo://"), _load_torchvision, force=True)


install_loaders()
