"""Position of a checkpoint in the data, in samples, and its conversion to data loaders of other sizes.

Unlike iterations, samples do not depend on the batch size, the number of processes and the length of the dataset. A run
resumed with other settings continues after the samples it was trained on.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmengine.dist import get_world_size
from torch.utils.data import BatchSampler, DataLoader

from vislab.errors import CheckpointError


class LoaderSize(NamedTuple):
    """Number of samples per iteration and per epoch."""

    samples: int  # in the dataset
    batch: int | None  # samples per process and iteration; None for custom batch samplers
    processes: int
    batches: int  # iterations per epoch
    drop_last: bool

    @property
    def step(self) -> int | None:
        """Samples per iteration, over all processes."""
        return None if self.batch is None else self.batch * self.processes

    def batches_left(self, samples_done: int) -> int:
        """Return the remaining iterations of an epoch after `samples_done` samples."""
        mine = max(-(-(self.samples - samples_done) // self.processes), 0)
        return mine // self.batch if self.drop_last else -(-mine // self.batch)

    def __str__(self) -> str:
        step = f"{self.batch} x {self.processes} samples" if self.batch else "batches of a sampler's own"
        return f"{self.samples} samples in {self.batches} iterations of {step}"


def loader_size(loader: DataLoader) -> LoaderSize:
    """Return the sizes of a data loader of this run."""
    plain = type(loader.batch_sampler) is BatchSampler
    return LoaderSize(
        samples=len(loader.dataset),
        batch=loader.batch_size if plain else None,
        processes=get_world_size(),
        batches=len(loader),
        drop_last=bool(plain and loader.batch_sampler.drop_last),
    )


def saved_size(position: Mapping[str, Any]) -> LoaderSize:
    """Return the sizes of the data loader of a checkpoint."""
    return LoaderSize(**{name: position[name] for name in LoaderSize._fields})


def epoch_position(position: Mapping[str, Any] | None, epoch: int, step: int, now: LoaderSize) -> tuple[int, int]:
    """Return the iteration to resume at in a run by epochs, and the samples of its epoch to skip.

    Args:
        position: `meta["data"]` of the checkpoint: its sizes, and `batches_done` and `samples_done` of the epoch. None
            for checkpoints of older versions.
        epoch: Number of finished epochs.
        step: Number of finished iterations in the previous run.
        now: Sizes of this run.

    Raises:
        CheckpointError: The position cannot be converted to the sizes of this run.
    """
    if position is None:
        done = step - epoch * now.batches
        if not 0 <= done <= now.batches:
            raise CheckpointError(
                f"the checkpoint is at iteration {step}, in epoch {epoch + 1}; this is impossible with {now}. "
                "It is of a version that did not save the run's batch size: resume with the batch size, number of "
                "processes and dataset of the run, or start a new one from its weights with --load-from."
            )
        return step, done * (now.step or 0)
    before, done = saved_size(position), position["batches_done"] or position["samples_done"]
    if before == now:
        return step, position["samples_done"] or 0
    if not done:
        return epoch * now.batches, 0
    if before.step is None or now.step is None:
        raise CheckpointError(
            f"the checkpoint is within epoch {epoch + 1} of a run with {before}; this one has {now}. With a batch "
            "sampler of its own the place cannot be found: resume with the settings of the run, or from a checkpoint "
            "at the end of an epoch."
        )
    samples = min(position["samples_done"], now.samples)
    return (epoch + 1) * now.batches - now.batches_left(samples), samples


def stream_position(position: Mapping[str, Any] | None, step: int, now: LoaderSize, endless: bool) -> tuple[int, int]:
    """Return the pass over the data to resume at in a run by iterations, and its samples to skip.

    Args:
        position: As in `epoch_position`, with the number of the `pass`, which is 0 for infinite samplers.
        step: Number of finished iterations.
        now: Sizes of this run.
        endless: Whether the sampler is infinite.

    Raises:
        CheckpointError: The position cannot be converted to the sizes of this run.
    """
    if position is None:  # an older version: assume the same sizes
        passes, done = (0, step) if endless else divmod(step, now.batches)
        return passes, done * (now.step or 0)
    before, passes, samples = saved_size(position), position["pass"], position["samples_done"]
    if before != now and (before.step is None or now.step is None):
        raise CheckpointError(
            f"the checkpoint was written with {before}; this run has {now}. With a batch sampler of its own the place "
            "in the data cannot be found: resume with the settings of the run."
        )
    if position["endless"] == endless:
        samples = samples or 0
    elif endless:
        samples, passes = passes * before.samples + (samples or 0), 0
    else:
        passes, samples = divmod(samples or 0, now.samples)
    if not endless and samples >= now.samples:
        passes, samples = passes + 1, 0
    return passes, samples
