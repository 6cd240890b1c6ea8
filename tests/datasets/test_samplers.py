"""Test samplers: each sample once, the split over ranks, any start position, seeds that depend only on the position."""

import itertools
import pickle
import time

import pytest
from torch.utils.data import DataLoader

from vislab.datasets import samplers
from vislab.datasets.samplers import EpochSampler, InfiniteSampler, SeededIndex, sample_seed


def ranks(monkeypatch, cls, size, world, **options):
    built = []
    for rank in range(world):
        monkeypatch.setattr(samplers, "get_dist_info", lambda r=rank: (r, world))
        built.append(cls(range(size), seed=1, **options))
    return built


def drawn(sampler, count=None) -> list[tuple[int, int]]:
    return [(int(i), i.seed) for i in itertools.islice(sampler, count)]


def test_index_is_an_int_and_survives_pickling():
    index = SeededIndex(3, seed=9)
    again = pickle.loads(pickle.dumps(index))
    assert [10, 11, 12, 13][again] == 13 and again == 3 and again.seed == 9


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_holds_every_sample_once(shuffle):
    sampler = EpochSampler(range(50), shuffle=shuffle, seed=1)
    order = [int(i) for i in sampler]
    assert sorted(order) == list(range(50)) and (order == list(range(50))) != shuffle and len(sampler) == 50


def test_order_and_seeds_change_from_epoch_to_epoch_and_are_repeatable():
    sampler = EpochSampler(range(20), seed=1)
    first = drawn(sampler)
    sampler.set_epoch(1)
    second = drawn(sampler)
    sampler.set_epoch(0)
    assert drawn(sampler) == first != second
    assert not {seed for _, seed in first} & {seed for _, seed in second}


@pytest.mark.parametrize("cls", [EpochSampler, InfiniteSampler])
@pytest.mark.parametrize(("size", "world"), [(12, 2), (13, 3), (2, 4)])
def test_ranks_interleave_to_the_order_of_one_process(monkeypatch, cls, size, world):
    (alone,) = ranks(monkeypatch, cls, size, 1)
    together = ranks(monkeypatch, cls, size, world)
    count = -(-size // world)
    assert all(len(sampler) == count for sampler in together)
    union = [item for row in zip(*(drawn(s, count) for s in together), strict=True) for item in row]
    assert union[:size] == drawn(alone, size)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_infinite_ranks_stay_in_step_over_many_passes(monkeypatch, world):
    (alone,) = ranks(monkeypatch, InfiniteSampler, 7, 1)
    together = ranks(monkeypatch, InfiniteSampler, 7, world)
    union = [item for row in zip(*(drawn(s, 20) for s in together), strict=True) for item in row]
    assert union == drawn(alone, 20 * world)


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 40])
def test_infinite_sampler_starts_anywhere(monkeypatch, world, start):
    for sampler in ranks(monkeypatch, InfiniteSampler, 7, world):
        expected = drawn(sampler, 60)
        sampler.set_start(start)
        assert drawn(sampler, 60 - start) == expected[start:]


def test_epoch_sampler_starts_anywhere_once():
    sampler = EpochSampler(range(10), seed=1)
    expected = drawn(sampler)
    sampler.set_start(4)
    assert drawn(sampler) == expected[4:]
    assert drawn(sampler) == expected


def test_skipping_a_million_samples_takes_no_time():
    sampler = InfiniteSampler(range(1000), seed=1)
    sampler.set_start(10**12)
    began = time.perf_counter()
    next(iter(sampler))
    assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize("workers", [0, 2])
def test_the_seed_reaches_the_dataset_through_a_loader(workers):
    class Seeds:
        def __len__(self):
            return 8

        def __getitem__(self, index):
            return int(index), index.seed

    loader = DataLoader(
        Seeds(), batch_size=2, sampler=EpochSampler(Seeds(), seed=1), num_workers=workers, collate_fn=list
    )
    assert [item for batch in loader for item in batch] == drawn(EpochSampler(Seeds(), seed=1))


def test_seeds_of_neighbors_are_unrelated():
    seeds = [sample_seed(r, e, p) for r in range(10) for e in range(10) for p in range(100)]
    assert len(set(seeds)) == len(seeds)
    assert len({seed & 0xFFFFFFFF for seed in seeds}) > len(seeds) - 10  # numpy takes 32 bits


def test_empty_dataset_is_refused():
    with pytest.raises(ValueError, match="empty"):
        EpochSampler([])
