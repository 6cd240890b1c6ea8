"""The shipped configs under one name: `from vislab.configs.hnerv.hnerv_bunny_160x320_cpu import *` below read_base().

An installation contains them here; in a checkout they lie in the folder configs/ beside the package.
"""

from pathlib import Path

_checkout = Path(__file__).parents[2] / "configs"
if not Path(__file__).with_name("_base_").is_dir() and (_checkout / "_base_").is_dir():
    __path__.append(str(_checkout))
