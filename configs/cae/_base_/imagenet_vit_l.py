"""imagenet_codes.py with ViT-L: 24 blocks of width 1024, layer scale from 1e-5.

Regressor and decoder keep width 768 and 12 heads: the official script sets 1024 and 16 heads in a line that the shell
does not read, because the line before it lacks its backslash.
"""

from mmengine.config import read_base

with read_base():
    from .imagenet_codes import *

model["encoder"].update(dim=1024, depth=24, num_heads=16, init_values=1e-5)
