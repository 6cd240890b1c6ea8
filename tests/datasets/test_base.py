"""Test the dataset base: data roots, errors with file names, augmentation seeded per sample."""

import random
import time

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from vislab.datasets.base import BaseDataset, seeded
from vislab.datasets.samplers import EpochSampler, SeededIndex
from vislab.errors import DataError


class Records(BaseDataset):
    def load_data_list(self):
        return [{"img_path": f"{self.data_root}/{i}.png"} for i in range(8)]


class Nothing(BaseDataset):
    def load_data_list(self):
        return []


class Filtered(Records):
    def filter_data(self):
        return []


class MissingFile(BaseDataset):
    def load_data_list(self):
        return open(self.ann_file).read()


def draw(results):
    return results["sample_idx"], np.random.rand(), random.random(), torch.rand(1).item()


def broken(results):
    raise OSError("cannot identify image file")


def test_data_root_takes_the_environment_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("VISLAB_DATA", str(tmp_path))
    (tmp_path / "set").mkdir()
    assert Records(data_root="$VISLAB_DATA/set").data_root == str(tmp_path / "set")
    monkeypatch.delenv("VISLAB_DATA")
    with pytest.raises(DataError, match="VISLAB_DATA, which is not set. Set it .*--cfg-options data_root="):
        Records(data_root="${VISLAB_DATA}/set")


def test_missing_things_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere.*does not exist"):
        Records(data_root=str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="ann.json, which does not exist"):
        MissingFile(data_root=str(tmp_path), ann_file="ann.json")
    with pytest.raises(DataError, match="no samples.*none found"):
        Nothing(data_root=str(tmp_path))
    with pytest.raises(DataError, match="all 8 records were filtered out"):
        Filtered(data_root=str(tmp_path), filter_cfg={"min_size": 3})


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_record_names_its_file(tmp_path, workers):
    dataset = Records(data_root=str(tmp_path), pipeline=[broken])
    with pytest.raises(DataError, match="3.png.*cannot identify image"):
        list(DataLoader(dataset, sampler=[3], num_workers=workers))


def test_misspelled_argument_is_refused(tmp_path):
    with pytest.raises(TypeError, match="pipelin"):
        Records(data_root=str(tmp_path), pipelin=[])


def epoch(workers: int, start: int = 0) -> list:
    dataset = Records(pipeline=[draw])
    sampler = EpochSampler(dataset, seed=5)
    sampler.set_start(start)
    loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers, collate_fn=list)
    return [sample for batch in loader for sample in batch]


def test_augmentation_does_not_depend_on_workers_start_or_the_global_state():
    expected = epoch(0)
    torch.manual_seed(77), np.random.seed(77), random.seed(77)
    assert epoch(0) == expected
    assert epoch(2) == expected
    assert epoch(1, start=4) == expected[4:]
    assert len({numbers for _, *numbers in map(tuple, expected) for numbers in numbers}) == 24


def test_reading_a_sample_leaves_the_global_state_alone():
    dataset = Records(pipeline=[draw])
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    dataset[SeededIndex(2, seed=1)]
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1]) and before[2] == random.getstate()


def test_plain_index_draws_from_the_global_state():
    dataset = Records(pipeline=[draw])
    assert dataset[2] != dataset[2]


def test_seeding_costs_little():
    times = []
    for seed in range(200):
        began = time.perf_counter()
        with seeded(seed):
            pass
        times.append(time.perf_counter() - began)
    assert sorted(times)[100] < 2e-3  # measured: about 0.1 ms
