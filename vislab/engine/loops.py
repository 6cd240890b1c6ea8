"""Training, validation and test loops, which can resume at any iteration without reading data again.

`train_cfg=dict(by_epoch=True, max_epochs=...)` and `dict(by_epoch=False, max_iters=...)` select the training loops,
`val_cfg` and `test_cfg` the others.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.runner import BaseLoop
from mmengine.runner import TestLoop as MMEngineTestLoop
from mmengine.runner import ValLoop as MMEngineValLoop
from mmengine.runner.utils import calc_dynamic_intervals
from torch.utils.data import BatchSampler, DataLoader

from vislab.datasets.samplers import sample_seed
from vislab.engine.distributed import share_statistics
from vislab.engine.resume.data_position import epoch_position, loader_size, saved_size, stream_position
from vislab.errors import ConfigError, TrainingError
from vislab.registry import LOOPS


class _TrainLoop(BaseLoop):
    """Base class of the training loops: training step, scheduling of validation, and position in the data.

    `epoch` and `iter` are the numbers of finished epochs and iterations; Runner.resume restores them with `resume_at`.
    """

    by_epoch: bool

    def __init__(
        self,
        runner,
        dataloader: DataLoader | dict,
        *,
        val_begin: int,
        val_interval: int,
        dynamic_intervals: list[tuple[int, int]] | None,
    ) -> None:
        super().__init__(runner, dataloader)
        self._epoch = 0
        self._iter = 0
        self.batches_changed = False  # whether a resumed run has another number of samples per iteration
        self._pass = 0  # over the data
        self._pass_start = _PassStart(iteration=0, batches=0, samples=0)
        self.val_begin = val_begin
        self.val_interval = val_interval
        self.stop_training = False  # EarlyStoppingHook sets it
        self._milestones, self._intervals = calc_dynamic_intervals(val_interval, dynamic_intervals)
        runner.visualizer.dataset_meta = getattr(self.dataloader.dataset, "metainfo", None)
        if len(self.dataloader) == 0:
            raise ConfigError(
                f"the training dataset has {len(self.dataloader.dataset)} samples, fewer than one batch of "
                f"{self.dataloader.batch_size}: lower train_dataloader.batch_size or set drop_last=False"
            )
        _check_shares(self.dataloader, "train_dataloader")

    epoch = property(lambda self: self._epoch, doc="int: finished epochs.")
    iter = property(lambda self: self._iter, doc="int: finished iterations.")
    max_epochs = property(lambda self: self._max_epochs, doc="int: epochs in all.")
    max_iters = property(lambda self: self._max_iters, doc="int: iterations in all.")

    def position(self, epoch: int, step: int) -> dict[str, Any]:
        """Return the position in the data after `epoch` finished epochs and `step` iterations, for a checkpoint."""
        size = loader_size(self.dataloader)
        batches = samples = 0
        if not self.by_epoch or epoch == self._epoch:  # else it is at the end of the current epoch
            batches = self._pass_start.batches + step - self._pass_start.iteration
            samples = self._pass_start.samples + (step - self._pass_start.iteration) * (size.step or 0)
        return {
            **size._asdict(),
            "pass": epoch if self.by_epoch else self._pass,
            "batches_done": batches,
            "samples_done": None if size.step is None else samples,
            "endless": is_endless(self._sampler),
        }

    def resume_at(self, epoch: int, step: int, position: Mapping[str, Any] | None) -> None:
        """Continue after `epoch` finished epochs and `step` iterations, at `position` in the data.

        Raises:
            CheckpointError: The position is not valid for the batch size, processes and dataset of this run.
        """
        now = loader_size(self.dataloader)
        before = now if position is None else saved_size(position)
        self._epoch, self._iter = epoch, step
        if self.by_epoch:
            self._iter, samples = epoch_position(position, epoch, step, now)
            self._pass = epoch
        else:
            self._pass, samples = stream_position(position, step, now, is_endless(self._sampler))
        if position is not None and before == now:
            batches = position["batches_done"]
        else:
            batches = samples // now.step if now.step else step - epoch * now.batches
        self._pass_start = _PassStart(iteration=self._iter, batches=batches, samples=samples)
        self.batches_changed = before.step != now.step or self._iter != step
        if before != now:
            self.runner.logger.warning(
                f"this run reads {now}; the one being resumed read {before}. It continues at iteration {self._iter}, "
                f"after {samples} samples of {'epoch' if self.by_epoch else 'pass'} {self._pass + 1}"
                + (f" (iteration {step} as it was counted then)" if self._iter != step else "")
                + ("; another dataset has another order" if before.samples != now.samples and samples else "")
            )

    def _train_step(self, batch_idx: int, data_batch: Any) -> None:
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=batch_idx, data_batch=data_batch)
        outputs = runner.model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
        runner.call_hook("after_train_iter", batch_idx=batch_idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1

    def _validate_if_due(self, done: int, total: int) -> None:
        """Validate after `done` of `total` epochs or iterations if due and not in the resumed log yet."""
        runner = self.runner
        for milestone, interval in zip(self._milestones, self._intervals, strict=True):
            if done + 1 >= milestone:
                self.val_interval = interval
        due = done >= self.val_begin and (done % self.val_interval == 0 or done == total)
        if runner.val_loop is None or not due or runner.message_hub.get_info("last_validation_iter") == self._iter:
            return
        runner.message_hub.update_info(
            "last_validation_iter", self._iter
        )  # before: the best checkpoint is saved inside
        runner.val_loop.run()
        runner.model.train()

    @property
    def _sampler(self) -> Any:
        """Return the sampler of indices, which is inside a custom batch sampler."""
        return getattr(self.dataloader.batch_sampler, "sampler", None) or self.dataloader.sampler

    def _batches(self) -> Iterator[Any]:
        """Yield the remaining batches of the current pass; earlier ones are skipped without being read."""
        loader, done = self.dataloader, self._pass_start.batches
        if loader.generator is not None:  # seed of the workers, the same for this pass in all runs
            loader.generator.manual_seed(sample_seed(self.runner.seed or 0, self._pass, done))
        sampler = self._sampler
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(self._pass)
        if self._pass_start.samples == done == 0:
            return iter(loader)
        if hasattr(sampler, "set_done") and type(loader.batch_sampler) is BatchSampler:
            sampler.set_done(self._pass_start.samples)
            return iter(loader)
        self.runner.logger.warning(
            f"{type(sampler).__name__} cannot start in the middle: reading {done} batches again to get to the place. "
            "vislab's EpochSampler and InfiniteSampler skip them."
        )
        return itertools.islice(loader, done, None)

    def _next_pass(self) -> None:
        self._pass += 1
        self._pass_start = _PassStart(iteration=self._iter, batches=0, samples=0)


class _PassStart(NamedTuple):
    """Start of the current pass over the data: its first sample, or the position of a resumed run."""

    iteration: int
    batches: int  # done before
    samples: int  # done before, in all processes


def is_endless(sampler: Any) -> bool:
    """Return whether a sampler is infinite: InfiniteSampler of vislab or mmengine."""
    return any(kind.__name__ == "InfiniteSampler" for kind in type(sampler).__mro__)


def _refuse_endless(loader: DataLoader, section: str) -> None:
    """Raise ConfigError for infinite samplers, with which an epoch, validation or test would not end."""
    sampler = getattr(loader.batch_sampler, "sampler", None) or loader.sampler
    if is_endless(sampler):
        raise ConfigError(
            f"{section}.sampler is {type(sampler).__name__}, which never ends: only training by iterations "
            "(train_cfg=dict(by_epoch=False, max_iters=...)) can use it. Use sampler=dict(type=EpochSampler, "
            f"shuffle={section.startswith('train')})."
        )


def _check_shares(loader: DataLoader, section: str) -> None:
    """Raise ConfigError unless all processes read the same number of samples and, in evaluation, an equal share.

    Otherwise processes would wait for one with fewer batches, and evaluation results, which are collected in turn from
    each process, would be in the wrong order.
    """
    processes, sampler = get_world_size(), getattr(loader.batch_sampler, "sampler", None) or loader.sampler
    if processes == 1 or is_endless(sampler):
        return
    shares = all_gather_object((len(loader), len(sampler)))
    size = len(loader.dataset)
    training = section.startswith("train")  # samplers may repeat or skip samples
    if len(set(shares)) > 1 or (not training and shares[0][1] != -(-size // processes)):
        told = ", ".join(f"{samples} samples in {batches} batches" for batches, samples in shares[:4])
        raise ConfigError(
            f"{section}.sampler ({type(sampler).__name__}) gives the {processes} processes {told}, of a dataset of "
            f"{size}: each must get an equal share. Use vislab's EpochSampler, which repeats the first samples where "
            "the processes do not divide the dataset (metrics leave the repeated ones out)."
        )


def _check_ends(loader: DataLoader, batch_idx: int, section: str) -> None:
    """Raise ConfigError at the first batch beyond the length of the data loader."""
    if batch_idx >= len(loader):
        raise ConfigError(
            f"{section} gave batch {batch_idx + 1}, but its length is {len(loader)}: its sampler "
            f"({type(getattr(loader.batch_sampler, 'sampler', loader.sampler)).__name__}) does not end where its "
            "length says, or never. Fix the sampler's __len__ or __iter__, or use vislab's EpochSampler."
        )


@LOOPS.register_module()
class EpochBasedTrainLoop(_TrainLoop):
    """Trains for a number of epochs.

    Args:
        runner: The Runner.
        dataloader: A data loader or its config.
        max_epochs: Number of epochs.
        val_begin: First epoch after which validation may run.
        val_interval: Epochs between validations; the last epoch is always validated.
        dynamic_intervals: (epoch, interval) pairs: validation interval from that epoch on.
    """

    by_epoch = True

    def __init__(
        self,
        runner,
        dataloader: DataLoader | dict,
        *,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(
            runner, dataloader, val_begin=val_begin, val_interval=val_interval, dynamic_intervals=dynamic_intervals
        )
        _refuse_endless(self.dataloader, "train_dataloader")
        self._max_epochs = int(max_epochs)
        self._max_iters = self._max_epochs * len(self.dataloader)

    def run(self) -> torch.nn.Module:
        self.runner.call_hook("before_train")
        if self._epoch > 0 and self._pass_start.samples == self._pass_start.batches == 0:
            self._validate_if_due(self._epoch, self._max_epochs)  # not in a checkpoint after an interruption
        self.runner.call_hook("restore_random_state")
        while self._epoch < self._max_epochs and not self.stop_training:
            self.run_epoch()
            self._validate_if_due(self._epoch, self._max_epochs)
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_epoch(self) -> None:
        """Train one epoch, or the rest of it in a resumed run."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for batch_idx, data_batch in enumerate(self._batches(), start=self._pass_start.batches):
            _check_ends(self.dataloader, batch_idx, "train_dataloader")
            self._train_step(batch_idx, data_batch)
        self.runner.call_hook("after_train_epoch")
        self._epoch += 1
        self._next_pass()


@LOOPS.register_module()
class IterBasedTrainLoop(_TrainLoop):
    """Trains for a number of iterations, which hooks see as one epoch.

    Args:
        runner: The Runner.
        dataloader: A data loader or its config.
        max_iters: Number of iterations.
        val_begin: First iteration after which validation may run.
        val_interval: Iterations between validations; the last iteration is always validated.
        dynamic_intervals: (iteration, interval) pairs: validation interval from that iteration on.
    """

    by_epoch = False

    def __init__(
        self,
        runner,
        dataloader: DataLoader | dict,
        *,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(
            runner, dataloader, val_begin=val_begin, val_interval=val_interval, dynamic_intervals=dynamic_intervals
        )
        self._max_iters = int(max_iters)
        self._max_epochs = 1

    def run(self) -> torch.nn.Module:
        runner = self.runner
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        if self._iter > 0:
            self._validate_if_due(self._iter, self._max_iters)  # not in a checkpoint after an interruption
        runner.call_hook("restore_random_state")
        runner.model.train()
        if self._iter < self._max_iters:
            for data_batch in self._endless_batches():
                self._train_step(self._iter, data_batch)
                self._validate_if_due(self._iter, self._max_iters)
                if self._iter >= self._max_iters or self.stop_training:
                    break
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model

    def _endless_batches(self) -> Iterator[Any]:
        """Yield batches without end from the position of this run."""
        while True:
            yield from self._batches()
            self._next_pass()


class _EvaluationMixin:
    """Checks that metrics are finite, and stores them in the runner."""

    stage: str

    def run_iter(self, idx: int, data_batch: Any) -> None:
        if idx == 0:  # EMAHook has put its weights in by now
            share_statistics(self.runner.model)
        _check_ends(self.dataloader, idx, f"{'val' if self.stage == 'validation' else 'test'}_dataloader")
        super().run_iter(idx, data_batch)

    def run(self) -> dict:
        metrics = super().run()
        bad = {k: v for k, v in metrics.items() if isinstance(v, (int, float)) and not math.isfinite(v)}
        if bad:
            raise TrainingError(
                f"{self.stage} metrics are not finite: {', '.join(f'{k}={v}' for k, v in bad.items())}. Either the "
                "weights are broken (look at the training loss) or the metric has nothing to measure on this dataset."
            )
        self.runner.last_metrics = dict(metrics)
        return metrics


@LOOPS.register_module()
class ValLoop(_EvaluationMixin, MMEngineValLoop):
    """Computes the metrics of the validation set, stored as `runner.last_metrics`.

    Args:
        runner: The Runner.
        dataloader: A data loader or its config.
        evaluator: Metrics or their configs.
        amp: Use autocast with bfloat16 on the CPU or float16 on a GPU.
    """

    stage = "validation"

    def __init__(
        self, runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list, *, amp: bool = False
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16=amp)
        _refuse_endless(self.dataloader, "val_dataloader")
        _check_shares(self.dataloader, "val_dataloader")


@LOOPS.register_module()
class TestLoop(_EvaluationMixin, MMEngineTestLoop):
    """Computes the metrics of the test set; arguments as in ValLoop."""

    stage = "test"
    __test__ = False  # not a test for pytest

    def __init__(
        self, runner, dataloader: DataLoader | dict, evaluator: Evaluator | dict | list, *, amp: bool = False
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16=amp)
        _refuse_endless(self.dataloader, "test_dataloader")
        _check_shares(self.dataloader, "test_dataloader")
