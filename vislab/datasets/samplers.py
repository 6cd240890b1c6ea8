"""Samplers that can start at any position without touching data, and give every sample its own seed.

One epoch is one global order of samples; rank r of w takes positions r, r + w, r + 2w, ... of it, so that the union of
the ranks' k-th batches is the k-th batch of a single process with the same global batch size. The seed of a sample
depends on the run's seed, the epoch and the global position only: augmentation is the same for any number of workers
or processes, and after any resume.
"""

import math
from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from vislab.registry import DATA_SAMPLERS

_MASK = (1 << 64) - 1


class SeededIndex(int):
    """An index that carries the seed of the sample drawn at it. Behaves as the plain int everywhere else."""

    seed: int

    def __new__(cls, value: int, seed: int) -> "SeededIndex":
        index = super().__new__(cls, value)
        index.seed = seed
        return index

    def __reduce__(self):
        return SeededIndex, (int(self), self.seed)


def sample_seed(run_seed: int, epoch: int, position: int) -> int:
    """Mix three numbers into a 63-bit seed; neighboring inputs give unrelated outputs (splitmix64 rounds)."""
    state = 0
    for number in (run_seed, epoch, position):
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


class _SeededSampler(Sampler):
    """What both samplers share: the order of one epoch, the split over ranks, the starting position."""

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
        """Samples this rank sees in one epoch: the ranks are padded to equal length."""
        return math.ceil(self.size / self.world_size)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def set_start(self, position: int) -> None:
        """Let the next iteration begin at this rank's `position`-th sample; the ones after it begin at 0 again."""
        self.set_done(position * self.world_size)

    def set_done(self, samples: int) -> None:
        """Let the next iteration begin after the first `samples` of the global order, whatever number of processes
        they were drawn by."""
        self.done = samples

    def _take_done(self) -> int:
        done, self.done = self.done, 0
        return done

    def _order(self, epoch: int) -> torch.Tensor:
        """The indices of one epoch, (size,) int64, the same on every rank."""
        if not self.shuffle:
            return torch.arange(self.size)
        generator = torch.Generator()
        generator.manual_seed(sample_seed(self.seed, epoch, -1))
        return torch.randperm(self.size, generator=generator)


@DATA_SAMPLERS.register_module()
class EpochSampler(_SeededSampler):
    """Every sample once an epoch; the last positions repeat the first samples where the ranks do not divide the
    dataset.

    Args:
        dataset: Anything with a length.
        shuffle: Whether the order changes from epoch to epoch.
        seed: The run's seed. None: one is drawn and shared by all ranks.
    """

    def __iter__(self) -> Iterator[SeededIndex]:
        order = self._order(self.epoch).tolist()
        epoch, done = self.epoch, self._take_done()
        left = math.ceil(max(self.size - done, 0) / self.world_size)  # for each rank
        for local in range(left):
            position = done + self.rank + local * self.world_size
            yield SeededIndex(order[position % self.size], sample_seed(self.seed, epoch, position))


@DATA_SAMPLERS.register_module()
class InfiniteSampler(_SeededSampler):
    """An endless stream of whole epochs, each in its own order: what an iteration-based run draws from.

    Args:
        dataset: Anything with a length.
        shuffle: Whether the order changes from pass to pass.
        seed: The run's seed. None: one is drawn and shared by all ranks.
    """

    def __iter__(self) -> Iterator[SeededIndex]:
        position = self.rank + self._take_done()  # in the endless global stream
        while True:
            epoch, offset = divmod(position, self.size)
            order = self._order(epoch).tolist()
            while offset < self.size:
                yield SeededIndex(order[offset], sample_seed(self.seed, epoch, offset))
                offset += self.world_size
            position = epoch * self.size + offset

    def set_epoch(self, epoch: int) -> None:
        """Ignored: the stream does not end."""
