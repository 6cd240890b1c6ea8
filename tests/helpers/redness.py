"""Models without weights for tests of predictions: one names the mean of the red channel, one finds two objects."""

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, LabelData
from torch.nn.functional import one_hot

from vislab.datasets.image_folder import ImageFolder
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.models.preprocessor import ImagePreprocessor

RED = np.zeros((24, 40, 3), np.uint8)
RED[:12, :20] = (220, 40, 40)  # in the top left quarter


class Redness(BaseModel):
    """Its label is the mean of the red channel; images 9 pixels wide it cannot take."""

    def forward(self, inputs, data_samples, mode="predict"):
        for image, sample in zip(inputs, data_samples, strict=True):
            assert image.shape[-1] != 9, "width 9"
            label = torch.tensor([round(float(image[0].mean()) * 255)])
            sample.pred_label = LabelData(label=label, score=one_hot(label, 256)[0].float())
        return data_samples


class Finder(Redness):
    """Two objects: class 0 with score 0.9, class 1 with score 0.2."""

    def forward(self, inputs, data_samples, mode="predict"):
        for sample in data_samples:
            sample.pred_instances = InstanceData(
                labels=torch.tensor([0, 1]), scores=torch.tensor([0.9, 0.2]), bboxes=torch.tensor([[0.0, 0, 5, 5]] * 2)
            )
        return data_samples


def config(**dataset) -> Config:
    """Return a config of the model, with these arguments of its dataset."""
    dataset = {"type": ImageFolder, "pipeline": [{"type": LoadImage, "min_size": 8}, {"type": PackInputs}], **dataset}
    model = {"type": Redness, "data_preprocessor": {"type": ImagePreprocessor}}
    return Config({"model": model, "test_dataloader": {"dataset": dataset}})
