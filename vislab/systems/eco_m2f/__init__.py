"""ECO-M2F: Mask2Former whose pixel-decoder encoder stops early; a gate picks the depth for each image.

Three steps, of which only the first trains a network:

    A  SampleExitHook     the parent learns to be good at every exit: one is drawn for each step
    B  derive.py          what each image would score at each exit, and what the gate would see, in one pass
    C  gate.py            a linear gate fitted on that in seconds, and tables of quality against cost for any budget

    model.py    EcoM2F: exits, gate, depth_penalty
    hooks.py    SampleExitHook
    cost.py     multiply-accumulates of every part and exit
    quality.py  PQ, mIoU and AP of one image

Paper: Yao et al., "Efficient Transformer Encoders for Mask2Former-style models", arXiv 2404.15244. PRO-SCALE, Aich et
al., arXiv 2404.14657, is an option of the pixel decoder (stages, recalibrate, light).
"""

from vislab.systems.eco_m2f.cost import exit_costs, layer_macs
from vislab.systems.eco_m2f.derive import Derived, derive
from vislab.systems.eco_m2f.gate import best_exits, fit_gate, frontier, policies
from vislab.systems.eco_m2f.hooks import SampleExitHook
from vislab.systems.eco_m2f.model import EcoM2F
from vislab.systems.eco_m2f.quality import image_quality

__all__ = [
    "Derived",
    "EcoM2F",
    "SampleExitHook",
    "best_exits",
    "derive",
    "exit_costs",
    "fit_gate",
    "frontier",
    "image_quality",
    "layer_macs",
    "policies",
]
