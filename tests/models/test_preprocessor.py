"""Test the preprocessor: values, memory layout, and padding of labels in training only."""

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, LabelData, PixelData

from tests.helpers.pretended_gpu import CUDA, pretended_gpu
from vislab.datasets.scenes import Scenes
from vislab.datasets.transforms import LoadImage, PackInputs
from vislab.errors import DataError
from vislab.models import preprocessor
from vislab.models.preprocessor import ImagePreprocessor, move_samples
from vislab.structures import DataSample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _items(*sizes) -> dict:
    items = [Scenes(length=3, size=size, pipeline=[LoadImage(), PackInputs()])[1] for size in sizes]
    return {"inputs": [i["inputs"] for i in items], "data_samples": [i["data_samples"] for i in items]}


def _expected(image: torch.Tensor) -> torch.Tensor:
    return (image.double() / 255 - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("sizes", [((32, 48), (32, 48)), ((32, 48), (40, 20))])
def test_numbers_and_layout(channels_last, sizes):
    data = _items(*sizes)
    kept = [image.clone() for image in data["inputs"]]
    out = ImagePreprocessor(mean=MEAN, std=STD, channels_last=channels_last)(data)["inputs"]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert out.dtype == torch.float32 and out.is_contiguous(memory_format=layout)
    for image, place, before in zip(data["inputs"], out, kept, strict=True):
        assert torch.equal(image, before)
        h, w = image.shape[1:]
        torch.testing.assert_close(place[:, :h, :w].double(), _expected(image), atol=2e-6, rtol=0)
        assert not place[:, h:].any() and not place[:, :, w:].any()


def test_without_mean_the_range_is_zero_to_one():
    data = {"inputs": [torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1)]}
    out = ImagePreprocessor()(data)
    assert torch.equal(out["inputs"].flatten(), torch.tensor([0.0, 51 / 255, 1.0])) and out["data_samples"] is None


def test_float_images_are_not_written_to():
    images = [torch.full((3, 4, 4), 255.0), torch.full((3, 4, 6), 255.0)]
    assert ImagePreprocessor()({"inputs": images})["inputs"].max() == 1
    ImagePreprocessor()({"inputs": images[:1]})
    assert all((image == 255).all() for image in images)


def test_collated_batch_is_accepted():
    batch = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(ImagePreprocessor()({"inputs": batch})["inputs"], batch / 255)


def test_size_divisor_and_metainfo():
    out = ImagePreprocessor(size_divisor=32)(_items((33, 64), (20, 70)))
    assert out["inputs"].shape == (2, 3, 64, 96)
    for sample, size in zip(out["data_samples"], ((33, 64), (20, 70)), strict=True):
        assert sample.batch_input_shape == sample.pad_shape == (64, 96) and tuple(sample.img_shape) == size


def test_labels_are_padded_in_training_only():
    preprocessor = ImagePreprocessor(size_divisor=32)
    sample = preprocessor(_items((33, 40)), training=True)["data_samples"][0]
    for field, fill in ((sample.gt_sem_seg, 255), (sample.gt_panoptic, 0), (sample.gt_depth, 0)):
        assert field.data.shape == (1, 64, 64)
        assert (field.data[:, 33:] == fill).all() and (field.data[:, :, 40:] == fill).all()
        assert not (field.data[:, :33, :40] == fill).any()
    assert sample.gt_panoptic.segments_info and sample.gt_instances.masks.shape[1:] == (64, 64)
    for untouched in (
        preprocessor(_items((33, 40)), training=False),
        ImagePreprocessor(size_divisor=32, pad_labels=False)(_items((33, 40)), training=True),
    ):
        assert untouched["data_samples"][0].gt_depth.data.shape == (1, 33, 40)


def test_batch_augment_runs_in_training_only():
    preprocessor = ImagePreprocessor(batch_augment=lambda inputs, samples: (inputs + 1, samples[::-1]))
    data = _items((32, 32), (32, 32))
    plain, mixed = preprocessor(data), preprocessor(data, training=True)
    torch.testing.assert_close(mixed["inputs"], plain["inputs"] + 1)


@pytest.mark.parametrize("bad", [{"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, {"mean": MEAN}])
def test_statistics_in_wrong_units_are_refused(bad):
    with pytest.raises(ValueError, match="mean="):
        ImagePreprocessor(**bad)


def test_images_of_different_channels_are_refused():
    with pytest.raises(DataError, match="differ in channels"):
        ImagePreprocessor()({"inputs": [torch.zeros(3, 4, 4), torch.zeros(1, 4, 4)]})


@pytest.mark.gpu
def test_same_numbers_on_the_gpu():
    data = _items((32, 48), (40, 20))
    cpu = ImagePreprocessor(mean=MEAN, std=STD)(data)["inputs"]
    out = ImagePreprocessor(mean=MEAN, std=STD).to("cuda")(data)
    assert out["data_samples"][0].gt_depth.data.is_cuda
    torch.testing.assert_close(out["inputs"].cpu(), cpu, atol=1e-6, rtol=0)


def test_statistics():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = ImagePreprocessor(mean=mean, std=std).statistics
    assert found == (list(mean), list(std))
    assert ImagePreprocessor().statistics is None


COPIES = {((5,), torch.int64), ((20,), torch.float32), ((1, 30, 40), torch.int64)}  # labels, boxes, and each map


def test_samples_are_moved_with_one_copy_a_dtype(monkeypatch):
    """Values, shapes, metainfo and what is no tensor stay; tensors that are large are copied alone."""
    monkeypatch.setattr(preprocessor, "_SMALL", 64)
    samples = []
    for count in (2, 0, 3):
        sample = DataSample(metainfo={"img_path": f"{count}.png"})
        labels = torch.arange(count)
        areas = np.ones(count)
        sample.gt_instances = InstanceData(labels=labels, bboxes=torch.rand(count, 4), ids=labels, areas=areas)
        sample.gt_sem_seg = PixelData(data=torch.ones(1, 30, 40, dtype=torch.int64), metainfo={"kind": count})
        samples.append(sample)
    for moved, sample in zip(move_samples(samples, torch.device("cpu")), samples, strict=True):
        assert moved is not sample and moved.gt_instances.labels.equal(sample.gt_instances.labels)
    copies, to = [], torch.Tensor.to
    with pretended_gpu() as waits:
        monkeypatch.setattr(torch.Tensor, "to", lambda x, device, **how: (copies.append(x), to(x, device, **how))[1])
        moved = move_samples(samples, CUDA)
        assert {(tuple(x.shape), x.dtype) for x in copies} == COPIES and not waits
    for found, sample in zip(moved, samples, strict=True):
        assert type(found) is DataSample and found.metainfo == sample.metainfo
        assert found.gt_sem_seg.data.device == found.gt_instances.bboxes.device == CUDA
        assert found.gt_instances.bboxes.shape == sample.gt_instances.bboxes.shape
        assert found.gt_instances.areas is sample.gt_instances.areas
        assert found.gt_sem_seg.metainfo == sample.gt_sem_seg.metainfo and len(found.gt_instances) == len(
            sample.gt_instances
        )


def test_moved_values(monkeypatch):
    """The CPU stands in for a device: each tensor gets its own part."""

    class Device:
        type = "elsewhere"

    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **_: self.clone())
    samples = [DataSample(), DataSample()]
    for i, sample in enumerate(samples):
        sample.gt_instances = InstanceData(labels=torch.tensor([i, 7]), bboxes=torch.full((2, 4), float(i)))
        sample.gt_label = LabelData(label=torch.tensor([10 + i]))
    for i, moved in enumerate(move_samples(samples, Device())):
        assert moved.gt_instances.labels.tolist() == [i, 7] and moved.gt_label.label.tolist() == [10 + i]
        assert moved.gt_instances.bboxes.tolist() == [[i] * 4] * 2
