"""timesNet for depth estimation; predictions for the image and its mirror image are averaged in testing."""

from mmengine.config import read_base

from vislab.models.dense import DepthEstimator
from vislab.models.dense_inference import DenseInference

with read_base():
    from .timesnet import *

model.update(type=DepthEstimator, inference=dict(type=DenseInference, flip=True))
