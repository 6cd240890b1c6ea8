"""timesNet: a pre-trained model as the decoder of dense prediction, fed with image x re-shaped features.

    reshape.py   Re-Shape modules, the only new weights: toward the gate, between stages, to the output
    model.py     TimesNet: images (B, 3, H, W) -> maps (B, K, H, W), with its ablations as options

It is a `network` of the tasks in vislab/models/dense.py (DepthEstimator, SemanticSegmentor); the control on the same
encoders is vislab/models/fpn.py. Paper: Ning et al., "Is Pre-training Applicable to the Decoder for Dense Prediction?",
arXiv 2503.07637. The paper calls the system xNet and does not show the inside of Re-Shape: that part is ours.
"""

from vislab.systems.timesnet.model import TimesNet
from vislab.systems.timesnet.reshape import GateReShape, MapHead, ReShape

__all__ = ["GateReShape", "MapHead", "ReShape", "TimesNet"]
