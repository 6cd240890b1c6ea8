"""What drives a run: Runner, loops, hooks, checkpoints, configs.

Importing this package registers its parts and puts the cures for mmengine's breakages in place.
"""

from vislab.engine import amp, checkpoint, hooks, layer_decay, loops, runner, schedulers

__all__ = ["amp", "checkpoint", "hooks", "layer_decay", "loops", "runner", "schedulers"]
