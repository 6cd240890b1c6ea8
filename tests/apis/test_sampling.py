"""Test batches for benchmarks of models."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from tests.helpers.plain_config import plain_config
from tests.helpers.toy_run import ToyDataset, plain
from vislab.apis.sampling import build_loader, one_batch, raw_batch
from vislab.errors import ConfigError
from vislab.models.preprocessor import ImagePreprocessor


def test_random_images_of_a_size():
    batch = raw_batch(plain_config(), shape=(20, 30), batch_size=2)
    assert [tuple(img.shape) for img in batch["inputs"]] == [(3, 20, 30)] * 2
    assert tuple(raw_batch(plain_config(), shape=[8])["inputs"][0].shape) == (3, 8, 8)
    with pytest.raises(ConfigError, match="--shape H W"):
        raw_batch(plain_config())
    with pytest.raises(ConfigError, match="expected height and width"):
        raw_batch(plain_config(), shape=[1, 2, 3])


def loaders(*splits, length=5) -> Config:
    dataset = {"type": ToyDataset, "length": length, "pipeline": [plain]}
    loader = {"dataset": dataset, "sampler": {"type": "EpochSampler", "shuffle": False}, "batch_size": 4}
    return plain_config(**{f"{split}_dataloader": loader for split in splits})


def test_batches_of_the_dataset():
    points = [ToyDataset(length=5)[i]["point"] for i in range(2)]
    for splits in (("train",), ("val", "train"), ("test",)):
        batch = raw_batch(loaders(*splits), batch_size=2)
        np.testing.assert_array_equal(np.stack(batch["inputs"]), points)
    assert len(raw_batch(loaders("train"), split="train", batch_size=3)["inputs"]) == 3
    with pytest.raises(ConfigError, match="no val_dataloader"):
        raw_batch(loaders("train"), split="val")


def test_loaders_with_changed_settings():
    assert [len(batch["inputs"]) for batch in build_loader(loaders("test"))] == [4, 1]
    assert [len(batch["inputs"]) for batch in build_loader(loaders("val"), "val", batch_size=3)] == [3, 2]
    with pytest.raises(ConfigError, match="no train_dataloader"):
        build_loader(loaders("val"), "train")


def test_one_batch_went_through_the_preprocessor():
    model = SimpleNamespace(data_preprocessor=ImagePreprocessor(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)))
    raw = raw_batch(plain_config(), shape=(4, 6))
    batch = one_batch(plain_config(), model, shape=(4, 6))
    torch.testing.assert_close(batch["inputs"][0], (raw["inputs"][0] / 255 - 0.5) / 0.2)
