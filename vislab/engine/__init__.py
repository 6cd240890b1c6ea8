"""Runner, loops, hooks, optimization, resuming, configs.

Importing this package registers its parts and puts the cures for mmengine's breakages in place.
"""

from vislab.engine import hooks, loaders, log_bridge, loops, optim, runner

__all__ = ["hooks", "loaders", "log_bridge", "loops", "optim", "runner"]
