"""Loss modules, called as loss(prediction, target) -> scalar and passed to models in their configs."""

from vislab.losses.classification import BinaryCrossEntropy, CrossEntropy
from vislab.losses.dense import PixelCrossEntropy, SILogLoss
from vislab.losses.video import Fusion6Loss, L2Loss

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Fusion6Loss", "L2Loss", "PixelCrossEntropy", "SILogLoss"]
