"""A model without weights for tests of predictions: its label is the mean of the red channel."""

import numpy as np
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.structures import LabelData

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
            sample.pred_label = LabelData(label=torch.tensor([round(float(image[0].mean()) * 255)]))
        return data_samples


def config(**dataset) -> Config:
    """Return a config of the model, with these arguments of its dataset."""
    dataset = {"type": ImageFolder, "pipeline": [{"type": LoadImage, "min_size": 8}, {"type": PackInputs}], **dataset}
    model = {"type": Redness, "data_preprocessor": {"type": ImagePreprocessor}}
    return Config({"model": model, "test_dataloader": {"dataset": dataset}})
