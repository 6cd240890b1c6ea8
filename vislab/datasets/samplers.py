"""Samplers that can resume at any position without loading data, and assign a seed to each sample.

An epoch is a global order of samples; rank r of w takes positions r, r + w, r + 2w, ..., so that the k-th batches of
all ranks together are the k-th batch of a single process with the same global batch size. The seed of a sample depends
only
on the seed of the run, the epoch and the global position: augmentation is the same for any number of workers or
processes, and after resuming.
"""

import math
from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from vislab.registry import DATA_SAMPLERS

_MASK = (1 << 64) - 1


class SeededIndex(int):
    """Dataset index with the random seed of its sample; otherwise behaves like int."""

    seed: int

    def __new__(cls, value: int, seed: int) -> "SeededIndex":
        index = super().__new__(cls, value)
        index.seed = seed
        return index

    def __reduce__(self):
        return SeededIndex, (int(self), self.seed)


def sample_seed(run_seed: int, epoch: int, position: int) -> int:
    """Return a 63-bit seed from three integers; similar inputs give unrelated outputs (splitmix64 rounds)."""
    state = 0
    for number in (run_seed, epoch, position):
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class _SeededSampler(Sampler):
    """Base class of the samplers: order of an epoch, split over ranks, starting position."""

    def __init__(self, dataset: Sized, *, shuffle: bool = True, seed: int | None = None) -> None:
        if len(dataset) == 0:
            raise ValueError(f"cannot sample from an empty {type(dataset).__name__}")
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else int(seed)
        self.epoch = 0
        self.done = 0

    def __len__(self) -> int:
        """Return the number of samples of this rank per epoch; ranks are padded to equal length."""
        return math.ceil(self.size / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order and the seeds."""
        self.epoch = epoch

    def set_start(self, position: int) -> None:
        """Start the next iteration at the `position`-th sample of this rank; later iterations start at 0."""
        self.set_done(position * self.world_size)

    def set_done(self, samples: int) -> None:
        """Start the next iteration after the first `samples` of the global order, for any number of processes."""
        self.done = samples

    def _take_done(self) -> int:
        done, self.done = self.done, 0
        return done

    def _order(self, epoch: int) -> torch.Tensor:
        """Return the indices of an epoch, (size,) int64, the same on all ranks."""
        if not self.shuffle:
            return torch.arange(self.size)
        generator = torch.Generator()
        generator.manual_seed(sample_seed(self.seed, epoch, -1))
        return torch.randperm(self.size, generator=generator)


@DATA_SAMPLERS.register_module()
class EpochSampler(_SeededSampler):
    """Yields each sample once per epoch; the first samples are repeated so that all ranks have the same number.

    Args:
        dataset: Dataset, or any object with a length.
        shuffle: Whether to shuffle the samples in each epoch.
        seed: Seed of the run. Default: drawn at random and shared by all ranks.
    """

    def __iter__(self) -> Iterator[SeededIndex]:
        order = self._order(self.epoch).tolist()
        epoch, done = self.epoch, self._take_done()
        left = math.ceil(max(self.size - done, 0) / self.world_size)  # per rank
        for local in range(left):
            position = done + self.rank + local * self.world_size
            yield SeededIndex(order[position % self.size], sample_seed(self.seed, epoch, position))


@DATA_SAMPLERS.register_module()
class InfiniteSampler(_SeededSampler):
    """Yields samples without end, one shuffled epoch after another; for iteration-based training.

    Args:
        dataset: Dataset, or any object with a length.
        shuffle: Whether to shuffle the samples in each epoch.
        seed: Seed of the run. Default: drawn at random and shared by all ranks.
    """

    def __iter__(self) -> Iterator[SeededIndex]:
        position = self.rank + self._take_done()  # position in the global stream
        while True:
            epoch, offset = divmod(position, self.size)
            order = self._order(epoch).tolist()
            while offset < self.size:
                yield SeededIndex(order[offset], sample_seed(self.seed, epoch, offset))
                offset += self.world_size
            position = epoch * self.size + offset

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the stream does not end."""
