"""Replaces mmengine's checkpoint loaders by the project's own; importing the module does it.

mmengine's Runner, EMA hook and `init_cfg` with `Pretrained` read files through `CheckpointLoader`, whose stock loaders
unpickle whatever the file contains.
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
            f"torchvision has no weights {name!r}. Near: {difflib.get_close_matches(name, urls) or 'none'}"
        )
    return load_from_http(urls[name], map_location)


def _refuse_scheme(filename: str, map_location: Any = "cpu") -> dict:
    raise CheckpointError(f"{filename}: this kind of address is not supported. Download the file and give its path.")


def install_loaders() -> None:
    """Replace every loader of mmengine: the stock ones unpickle whatever the file contains."""
    for prefix in list(CheckpointLoader._schemes):
        CheckpointLoader.register_scheme(prefix, _refuse_scheme, force=True)
    CheckpointLoader.register_scheme("", load_checkpoint, force=True)
    CheckpointLoader.register_scheme(("http://", "https://"), load_from_http, force=True)
    CheckpointLoader.register_scheme(("torchvision://", "modelzoo://"), _load_torchvision, force=True)


install_loaders()
