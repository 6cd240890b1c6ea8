"""Where in the data a checkpoint stands, counted in samples, and what that is for loaders of another size.

Iterations change their meaning with the batch size, the number of processes and the length of the dataset; samples do
not. A run that is resumed with other ones goes on after the samples it has trained on.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mmengine.dist import get_world_size
from torch.utils.data import BatchSampler, DataLoader

from vislab.errors import CheckpointError


class LoaderSize(NamedTuple):
    """The number of samples in an iteration and in an epoch."""

    samples: int  # in the dataset
    batch: int | None  # samples a process and iteration; None: a batch sampler of its own decides
    processes: int
    batches: int  # iterations an epoch, as the loader says
    drop_last: bool

    @property
    def step(self) -> int | None:
        """Samples an iteration takes over all processes."""
        return None if self.batch is None else self.batch * self.processes

    def batches_left(self, samples_done: int) -> int:
        """Iterations that are left of an epoch of which `samples_done` samples are done."""
        mine = max(-(-(self.samples - samples_done) // self.processes), 0)
        return mine // self.batch if self.drop_last else -(-mine // self.batch)

    def __str__(self) -> str:
        step = f"{self.batch} x {self.processes} samples" if self.batch else "batches of a sampler's own"
        return f"{self.samples} samples in {self.batches} iterations of {step}"


def loader_size(loader: DataLoader) -> LoaderSize:
    """The sizes of a loader as it stands in this run."""
    plain = type(loader.batch_sampler) is BatchSampler
    return LoaderSize(
        samples=len(loader.dataset),
        batch=loader.batch_size if plain else None,
        processes=get_world_size(),
        batches=len(loader),
        drop_last=bool(plain and loader.batch_sampler.drop_last),
    )


def saved_size(position: Mapping[str, Any]) -> LoaderSize:
    """The sizes of the loader that a checkpoint was written with."""
    return LoaderSize(**{name: position[name] for name in LoaderSize._fields})


def epoch_position(position: Mapping[str, Any] | None, epoch: int, step: int, now: LoaderSize) -> tuple[int, int]:
    """The iteration to go on from in a run counted in epochs, and the samples of its epoch to skip.

    Args:
        position: What the checkpoint's `meta["data"]` contains: the old sizes, and `batches_done` and `samples_done` of
            the epoch. None: an older version wrote it.
        epoch: Finished epochs.
        step: Finished iterations, as they were counted then.
        now: The sizes of this run.

    Raises:
        CheckpointError: the place cannot be found with the sizes of this run.
    """
    if position is None:
        done = step - epoch * now.batches
        if not 0 <= done <= now.batches:
            raise CheckpointError(
                f"the checkpoint stands at iteration {step}, in epoch {epoch + 1}; with {now} an epoch that cannot be. "
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
            f"the checkpoint stands inside epoch {epoch + 1} of a run with {before}; this one has {now}. With a batch "
            "sampler of its own the place cannot be found: resume with the settings of the run, or from a checkpoint "
            "at the end of an epoch."
        )
    samples = min(position["samples_done"], now.samples)
    return (epoch + 1) * now.batches - now.batches_left(samples), samples


def stream_position(position: Mapping[str, Any] | None, step: int, now: LoaderSize, endless: bool) -> tuple[int, int]:
    """The pass over the data to go on in, in a run counted in iterations, and its samples to skip.

    Args:
        position: As for `epoch_position`, with the number of the `pass`; of an endless sampler the only one is 0.
        step: Finished iterations.
        now: The sizes of this run.
        endless: Whether the sampler's first pass never ends.

    Raises:
        CheckpointError: the place cannot be found with the sizes of this run.
    """
    if position is None:  # an older version: iterations of today's size are assumed
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
