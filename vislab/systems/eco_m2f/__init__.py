"""ECO-M2F: Mask2Former with an adaptive number of encoder layers per image, selected by a gate; the same for detectors.

Three steps, of which only the first trains a network:

    A  SampleExitHook     train a model for all exits; one exit is sampled per step
    B  derive.py          compute the quality of each image at each exit, and the features for the gate
    C  gate.py            fit a linear gate in seconds, and compute quality against cost

    early_exits.py  exits, gate and policies, which both models share
    model.py        EcoM2F: Mask2Former
    detector.py     EcoDETR: Deformable DETR, for axis-aligned and rotated boxes
    hooks.py        SampleExitHook
    cost.py         multiply-accumulates of all exits
    quality.py      PQ, mIoU and AP of single images

Paper: Yao et al., "Efficient Transformer Encoders for Mask2Former-style models", arXiv 2404.15244. PRO-SCALE, Aich et
al., arXiv 2404.14657, is an option of the pixel decoder (stages, recalibrate, light).
"""

from vislab.systems.eco_m2f.cost import exit_costs, layer_macs
from vislab.systems.eco_m2f.derive import Derived, derive
from vislab.systems.eco_m2f.detector import EcoDETR
from vislab.systems.eco_m2f.gate import best_exits, fit_gate, frontier, policies
from vislab.systems.eco_m2f.hooks import SampleExitHook
from vislab.systems.eco_m2f.model import EcoM2F
from vislab.systems.eco_m2f.quality import image_quality

__all__ = [
    "Derived",
    "EcoDETR",
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
