"""timesNet: dense prediction with a pre-trained model as the decoder, applied to the image times re-shaped features.

    reshape.py   Re-Shape modules, the only layers without pre-trained weights
    model.py     TimesNet: images (B, 3, H, W) -> maps (B, K, H, W), with the ablations of the paper as options

TimesNet is used as the `network` of the models in vislab/models/dense.py (DepthEstimator, SemanticSegmentor). The
baseline with the same encoders is vislab/models/fpn.py.

Paper: Ning et al., "Is Pre-training Applicable to the Decoder for Dense Prediction?",
arXiv 2503.07637. In the paper the system is called xNet. The paper does not specify the layers of Re-Shape; those here
are our choice.
"""

from vislab.systems.timesnet.model import TimesNet
from vislab.systems.timesnet.reshape import GateReShape, MapHead, ReShape

__all__ = ["GateReShape", "MapHead", "ReShape", "TimesNet"]
