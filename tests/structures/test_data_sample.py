"""Test DataSample: typed fields, conversion, and mmengine's dictionaries."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, LabelData, PixelData

from vislab.structures import DataSample


def _sample() -> DataSample:
    sample = DataSample(metainfo={"img_path": "a.jpg", "ori_shape": (4, 6)})
    sample.gt_instances = InstanceData(labels=torch.tensor([1, 2]), bboxes=torch.rand(2, 4))
    sample.gt_depth = PixelData(data=torch.rand(1, 4, 6))
    sample.pred_label = LabelData(label=torch.tensor([3]), score=torch.rand(5))
    sample.pred_image = torch.rand(3, 4, 6)
    return sample


def test_fields_and_meta_are_kept():
    sample = _sample()
    assert sample.ori_shape == (4, 6) and len(sample.gt_instances) == 2 and "gt_depth" in sample
    assert "pred_instances" not in sample


@pytest.mark.parametrize("name", ["gt_instances", "pred_panoptic", "gt_label", "pred_image"])
def test_a_field_of_the_wrong_type_is_refused(name):
    with pytest.raises(TypeError, match=f"DataSample.{name} is a list"):
        setattr(DataSample(), name, [1, 2])


def test_numpy_and_to_convert_every_field():
    array = _sample().numpy()
    assert isinstance(array.gt_instances.bboxes, np.ndarray) and isinstance(array.pred_image, np.ndarray)
    half = _sample().to(torch.float64)
    assert half.gt_depth.data.dtype == torch.float64 and half.ori_shape == (4, 6)


def test_to_dict_gives_plain_nested_dictionaries():
    plain = _sample().to_dict()
    assert plain["pred_label"]["label"].tolist() == [3] and plain["img_path"] == "a.jpg"


def test_unknown_fields_are_free_and_fields_can_be_removed():
    sample = _sample()
    sample.embedding = torch.zeros(3)
    del sample.gt_depth
    assert "gt_depth" not in sample and sample.embedding.shape == (3,)
