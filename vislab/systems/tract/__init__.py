"""TrAct: the first layer learns as fast as if its activations were trained, by one small linear solve per step.

    layers.py  which layer: the first Linear or Conv2d of a model, and why one cannot be used
    gram.py    a^T a of what a layer sees, chunked, without unfolding
    update.py  the update itself, as hooks on a stock layer
    apply.py   apply_tract(module) and its inverse; precondition(layer) for gradient accumulation
    hook.py    TrActHook: one line in any config

Paper: Petersen et al., "TrAct: Making First-layer Pre-Activations Trainable", NeurIPS 2024, arXiv 2410.23970.
"""

from vislab.systems.tract.apply import apply_tract, get_tract, precondition, remove_tract
from vislab.systems.tract.hook import TrActHook
from vislab.systems.tract.layers import find_first_layer

__all__ = ["TrActHook", "apply_tract", "find_first_layer", "get_tract", "precondition", "remove_tract"]
