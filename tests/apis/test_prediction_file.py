"""Test the predictions file: no labels, small data types, equal values."""

import pickle

import numpy as np
import torch
from mmengine.structures import InstanceData, LabelData, PixelData
from pycocotools import mask as coco

from vislab.apis.prediction_file import PredictionFile, smallest
from vislab.structures import DataSample


def predicted() -> DataSample:
    generator = torch.Generator().manual_seed(0)
    sample = DataSample(metainfo={"img_path": "a.png", "ori_shape": (40, 60)})
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 40, 60, dtype=torch.int64))
    sample.pred_sem_seg = PixelData(data=torch.randint(0, 19, (1, 40, 60), generator=generator))
    sample.pred_panoptic = PixelData(
        data=torch.randint(0, 300, (1, 40, 60), generator=generator), metainfo={"segments_info": [{"id": 1}]}
    )
    sample.pred_depth = PixelData(data=torch.rand(1, 40, 60, generator=generator))
    sample.pred_label = LabelData(label=torch.tensor([3]), score=torch.rand(5, generator=generator))
    sample.pred_image = torch.rand(3, 40, 60, generator=generator)
    sample.pred_instances = InstanceData(
        labels=torch.tensor([1, 7]), scores=torch.tensor([0.5, 0.25], dtype=torch.bfloat16),
        bboxes=torch.rand(2, 4), masks=torch.rand(2, 40, 60, generator=generator) > 0.5,
    )  # fmt: skip
    return sample


def test_what_is_read_is_what_was_predicted(tmp_path):
    sample, path = predicted(), tmp_path / "out.pkl"
    metric = PredictionFile(path)
    metric.process(None, [sample.to_dict()])
    assert metric.evaluate(1) == {}
    (found,) = pickle.loads(path.read_bytes())
    assert found["img_path"] == "a.png" and found["size"] == (40, 60) and not [k for k in found if k.startswith("gt")]
    assert found["sem_seg"].dtype == np.uint8 and np.array_equal(found["sem_seg"], sample.pred_sem_seg.data[0])
    assert found["panoptic"].dtype == np.uint16 and np.array_equal(found["panoptic"], sample.pred_panoptic.data[0])
    assert found["segments"] == [{"id": 1}] and found["label"] == 3
    assert np.array_equal(found["depth"], sample.pred_depth.data[0]) and found["depth"].dtype == np.float32
    assert np.abs(found["image"] / 255 - sample.pred_image.permute(1, 2, 0).numpy()).max() <= 0.5 / 255 + 1e-6
    instances = found["instances"]
    assert np.array_equal(coco.decode(instances["masks"]).transpose(2, 0, 1), sample.pred_instances.masks)
    assert instances["scores"].tolist() == [0.5, 0.25] and instances["labels"].tolist() == [1, 7]
    assert path.stat().st_size < 40 * 60 * (1 + 2 + 4 + 3) + 12_000 and len(list(tmp_path.iterdir())) == 1


def test_smallest_types():
    for values, kind in (
        ([0, 255], "uint8"),
        ([0, 256], "uint16"),
        ([70000], "uint32"),
        ([-1, 5], "int8"),
        ([], "uint8"),
    ):
        small = smallest(np.array(values, np.int64))
        assert small.dtype == kind and small.tolist() == values
    assert smallest(np.array([0.5])).dtype == np.float64
