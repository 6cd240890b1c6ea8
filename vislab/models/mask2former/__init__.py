"""Mask2Former: universal image segmentation by mask classification.

    pixel_decoder.py   deformable attention over three scales, early exits, options of PRO-SCALE
    mask_decoder.py    transformer decoder with masked attention
    criterion.py       matching costs and point-sampled losses
    inference.py       panoptic, instance and semantic postprocessing
    convert.py         names of the weights in the official project, transformers and mmdet
    model.py           Mask2Former with modes loss | predict | tensor

Paper: Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", arXiv 2112.01527.
"""

from vislab.models.mask2former.criterion import Mask2FormerLoss, Target
from vislab.models.mask2former.mask_decoder import MaskDecoder
from vislab.models.mask2former.model import Mask2Former, mask_logits
from vislab.models.mask2former.pixel_decoder import PixelDecoder

__all__ = ["Mask2Former", "Mask2FormerLoss", "MaskDecoder", "PixelDecoder", "Target", "mask_logits"]
