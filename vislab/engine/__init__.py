"""Runner, loops, hooks, optimization, resuming, configs.

Importing this package registers its parts and applies the workarounds for defects of mmengine.
"""

from vislab.engine import lean_import  # noqa: F401, I001  before mmengine.optim is imported
from vislab.engine import hooks, loaders, log_bridge, loops, optim, runner

__all__ = ["hooks", "loaders", "log_bridge", "loops", "optim", "runner"]
