"""Determine the work directory of a run."""

import os
from collections.abc import Mapping
from pathlib import Path

from vislab.errors import ConfigError
from vislab.io.paths import usable_folder


def work_dir_of(cfg: Mapping) -> str:
    """Return `work_dir` of the config, else work_dirs/<config name>, after creating and checking the folder.

    Raises:
        ConfigError: There is neither a work_dir nor a file name, or the folder is not writable.
    """
    folder, filename = cfg.get("work_dir"), getattr(cfg, "filename", None)
    if folder is None and not filename:
        raise ConfigError("set a folder for logs and checkpoints: --work-dir DIR, or work_dir=... in the config")
    return usable_folder(folder or os.path.join("work_dirs", Path(filename).stem))
