"""TrAct: trains the first layer as if its activations were trained, with one small linear solve per step.

    layers.py  find the first Linear or Conv2d of a model, and check that it is supported
    gram.py    Gram matrix a^T a of the layer input, in chunks and without unfolding
    update.py  the update, implemented as hooks on an unmodified layer
    apply.py   apply_tract(module) and its inverse; precondition(layer) for gradient accumulation
    hook.py    TrActHook for configs

Paper: Petersen et al., "TrAct: Making First-layer Pre-Activations Trainable", NeurIPS 2024, arXiv 2410.23970.
"""

from vislab.systems.tract.apply import apply_tract, get_tract, precondition, remove_tract
from vislab.systems.tract.hook import TrActHook
from vislab.systems.tract.layers import find_first_layer

__all__ = ["TrActHook", "apply_tract", "find_first_layer", "get_tract", "precondition", "remove_tract"]
