"""Test data positions against a loop over all samples, with sizes that are not divisible."""

from collections.abc import Iterator

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

from vislab.engine.resume.data_position import (
    LoaderSize,
    epoch_position,
    loader_size,
    saved_size,
    stream_position,
)
from vislab.errors import CheckpointError


def size(samples: int, batch: int | None, processes: int = 1, drop_last: bool = False) -> LoaderSize:
    each = -(-samples // processes)
    batches = each // batch if drop_last else -(-each // (batch or 1))
    return LoaderSize(samples, batch, processes, batches, drop_last)


def read(now: LoaderSize, done: int = 0) -> Iterator[int]:
    """The number of samples that all processes read, step by step, in what is left of an epoch."""
    while done < now.samples:
        done += now.batch * now.processes
        if done <= now.samples or not now.drop_last:
            yield done


SIZES = [size(s, b, p, d) for s in (7, 12, 24) for b in (1, 3, 4) for p in (1, 2) for d in (False, True) if s % p == 0]


@pytest.mark.parametrize("now", SIZES, ids=str)
def test_batches_left_are_those_of_a_loop(now):
    assert now.batches_left(0) == now.batches
    for done in range(0, now.samples + 1, now.processes):
        assert now.batches_left(done) == len(list(read(now, done)))
    assert now.batches_left(now.samples + 5) == 0


@pytest.mark.parametrize("now", SIZES, ids=str)
def test_an_epoch_goes_on_behind_the_samples_it_has_read(now):
    before = size(24, 4)
    for batches_done in range(7):
        position = before._asdict() | {"batches_done": batches_done, "samples_done": 4 * batches_done}
        step, samples = epoch_position(position, 2, 12 + batches_done, now)
        if before == now:
            assert (step, samples) == (12 + batches_done, 4 * batches_done)
        elif batches_done == 0:
            assert (step, samples) == (2 * now.batches, 0)
        else:
            assert samples == min(4 * batches_done, now.samples)
            assert step + len(list(read(now, samples))) == 3 * now.batches  # the epoch ends where epochs end


def test_sizes_of_a_loader():
    data = TensorDataset(torch.zeros(10))
    assert loader_size(DataLoader(data, batch_size=4)) == LoaderSize(10, 4, 1, 3, False)
    assert loader_size(DataLoader(data, batch_size=4, drop_last=True)) == LoaderSize(10, 4, 1, 2, True)

    class Own(BatchSampler):
        pass

    own = loader_size(DataLoader(data, batch_sampler=Own(range(10), 3, False)))
    assert own == LoaderSize(10, None, 1, 4, False) and own.step is None and LoaderSize(10, 4, 2, 2, False).step == 8
    assert saved_size(own._asdict() | {"samples_done": 3}) == own


def test_older_checkpoints_count_steps_of_today():
    now = size(24, 4)
    assert epoch_position(None, 2, 15, now) == (15, 12) and epoch_position(None, 2, 18, now) == (18, 24)
    for step in (11, 19):
        with pytest.raises(CheckpointError, match=f"iteration {step}, in epoch 3"):
            epoch_position(None, 2, step, now)
    assert stream_position(None, 15, now, endless=False) == (2, 12)
    assert stream_position(None, 15, now, endless=True) == (0, 60)


def test_a_batch_sampler_of_its_own_has_no_place_inside_an_epoch():
    own = LoaderSize(24, None, 1, 6, False)
    inside = size(24, 4)._asdict() | {"batches_done": 3, "samples_done": 12}
    with pytest.raises(CheckpointError, match="within epoch 3"):
        epoch_position(inside, 2, 15, own)
    at_the_end = inside | {"batches_done": 0, "samples_done": 0}
    assert epoch_position(at_the_end, 2, 12, own) == (12, 0)
    unknown = own._asdict() | {"batches_done": 3, "samples_done": None}
    assert epoch_position(unknown, 2, 15, own) == (15, 0)
    with pytest.raises(CheckpointError, match="place in the data cannot be found"):
        stream_position(inside | {"pass": 0, "endless": True}, 15, own, endless=True)


@pytest.mark.parametrize("endless", [False, True])
@pytest.mark.parametrize("was_endless", [False, True])
def test_a_stream_goes_on_behind_all_samples_read(was_endless, endless):
    """70 samples of 24: twice the whole set and 22 more, whichever way they were counted."""
    before, now = size(24, 2), size(24, 4)
    place = {"pass": 0, "samples_done": 70} if was_endless else {"pass": 2, "samples_done": 22}
    found = stream_position(before._asdict() | place | {"endless": was_endless}, 35, now, endless)
    assert found == ((0, 70) if endless else (2, 22))


def test_a_pass_that_is_done_is_followed_by_the_next():
    now = size(24, 4)
    position = now._asdict() | {"pass": 1, "samples_done": 24, "endless": False}
    assert stream_position(position, 12, now, endless=False) == (2, 0)
    shorter = size(16, 4)
    assert stream_position(position, 12, shorter, endless=False) == (2, 0)
