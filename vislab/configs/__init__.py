"""The configs as a package, for `from vislab.configs.hnerv.hnerv_bunny_160x320_cpu import *` in read_base().

Installed packages contain the configs in this folder; in a checkout they are in configs/ next to the package.
"""

from pathlib import Path

_checkout = Path(__file__).parents[2] / "configs"
if not Path(__file__).with_name("_base_").is_dir() and (_checkout / "_base_").is_dir():
    __path__.append(str(_checkout))
