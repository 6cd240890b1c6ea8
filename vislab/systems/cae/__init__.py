"""CAE: masked-image pre-training that predicts the latents of masked patches (Chen et al., arXiv 2202.03026).

masks.py   transforms that choose the masked patches: BlockMask, RandomMask, InverseBlockMask
"""

from vislab.systems.cae.masks import BlockMask, InverseBlockMask, RandomMask

__all__ = ["BlockMask", "InverseBlockMask", "RandomMask"]
