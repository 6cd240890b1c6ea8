"""Runner based on mmengine's, with safe checkpoints, exact resuming, CPU process groups, and metrics.json.

Checkpoints contain `meta`, `state_dict`, `message_hub`, `optimizer`, `param_schedulers`, `random_state` and the states
of hooks, as tensors and Python objects. A resumed training equals an uninterrupted one, bit for bit on the CPU.
"""

import copy
import os
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed, is_main_process
from mmengine.hooks import EarlyStoppingHook as MMEngineEarlyStoppingHook
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.runner import BaseLoop, Priority
from mmengine.runner import Runner as MMEngineRunner
from torch.utils.data import DataLoader

from vislab.engine.allocator import keep_freed_memory
from vislab.engine.checkpoint_content import checkpoint_content
from vislab.engine.class_lists import build_dataset, check_loaded, check_loop
from vislab.engine.compilation import compile_networks
from vislab.engine.config.defaults import set_test_defaults
from vislab.engine.distributed import call_on_main, distribute, prepare_processes, unwrap
from vislab.engine.environment import collect_environment
from vislab.engine.hooks import DEFAULT_HOOKS, EarlyStoppingHook
from vislab.engine.message_hub import MessageHub
from vislab.engine.process_watch import watch_processes
from vislab.engine.quiet import keep_terminal_quiet
from vislab.engine.report import closing_lines, logged_metrics, seconds_before, write_config, write_metrics
from vislab.engine.resume.epoch_counts import check_hooks, check_schedules
from vislab.engine.resume.hook_state import HookStates
from vislab.engine.resume.optim_state import optimizer_settings, schedule_settings
from vislab.engine.resume.restore import (
    check_averages,
    last_checkpoint,
    newest_checkpoint,
    restore_counters,
    restore_hooks,
    restore_optimization,
    tell_differences,
)
from vislab.engine.resume.run_state import check_run_state, reading_part
from vislab.engine.resume.settings_diff import plain_settings
from vislab.engine.run_lock import hold_work_dir
from vislab.engine.sharding import FullyShard, check_hooks_for_sharding
from vislab.engine.work_dir import work_dir_of
from vislab.errors import ConfigError
from vislab.io.checkpoint import load_checkpoint, save_checkpoint
from vislab.io.serialize import from_plain
from vislab.io.weights import get_weights, load_state
from vislab.registry import LOOPS, RUNNERS


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Trains, validates and tests the model of a config. Accepts the arguments of mmengine's Runner.

    Differences: `default_scope` is "vislab"; `resume` can be True or "auto" (the newest complete checkpoint of the work
    directory, if there is one) or a path; the default hooks are DEFAULT_HOOKS, which a config can change or disable
    (None); test settings default to those of validation.
    """

    def __init__(self, *args, resume: bool | str = False, default_scope: str = "vislab", **kwargs) -> None:
        self._start_from: str | None = None
        self.checkpoint_dir: str | None = None  # folder of checkpoints to resume from; default: work_dir
        if resume == "auto":
            resume, self._start_from = True, kwargs.pop("load_from", None)  # without a checkpoint
        elif isinstance(resume, str):
            resume, kwargs["load_from"] = True, resume
        self.last_metrics: dict[str, Any] | None = None
        self.loaded_from: str | None = None
        self._began = time.time()  # includes the time before resuming
        self.settings: dict[str, dict] = {}  # of optimizers and schedules, as built
        self._config_settings = plain_settings(kwargs)
        self._resumed: tuple[str, dict] | None = None
        self._hook_states = HookStates([])
        super().__init__(*args, resume=resume, default_scope=default_scope, **set_test_defaults(kwargs))

    @property
    def resumed(self) -> bool:
        """Whether this run was resumed from a checkpoint."""
        return self._resume and self.loaded_from is not None

    @cached_property
    def config_text(self) -> str:
        """The config as Python code, which is formatted once."""
        return self.cfg.pretty_text

    @classmethod
    def from_cfg(cls, cfg: Config | dict) -> "Runner":
        """Build a Runner from a config. The default `work_dir` is work_dirs/<config name>.

        Raises:
            ConfigError: The config has no model, has neither a work_dir nor a file name, or the work_dir is not
                writable.
        """
        cfg = copy.deepcopy(cfg)
        for key in [key for key, value in cfg.items() if value is None]:
            cfg.pop(key)  # a Config has no `del`
        if cfg.get("model") is None:
            raise ConfigError("the config has no `model`: nothing can be built from it")
        cfg.setdefault("default_scope", "vislab")
        cfg["work_dir"] = work_dir_of(cfg)
        return super().from_cfg(cfg)

    # ---------------------------------------------------------------------------------------------------- environment

    def setup_env(self, env_cfg: dict) -> None:
        if self.distributed and not is_distributed():
            prepare_processes(self.launcher, (env_cfg.get("dist_cfg") or {}).get("timeout"))
        if get_device() == "cpu":
            keep_freed_memory()
            torch.set_flush_denormal(True)  # subnormal gradients doubled the time of steps of a fitted HNeRV
        super().setup_env(env_cfg)
        watch_processes(self.work_dir)

    def _log_env(self, env_cfg: dict) -> None:
        report = collect_environment() | {
            "seed": self.seed,
            "deterministic": self.deterministic,
            "processes": f"{self.world_size} (launcher {self.launcher})",
        }
        self.logger.info("environment\n" + "\n".join(f"    {name}: {value}" for name, value in report.items()))

    def build_message_hub(self, message_hub: dict | None = None) -> MessageHub:
        hub = super().build_message_hub(message_hub)
        hub.__class__ = MessageHub  # keep the instance, which mmengine's get_current_instance returns
        return hub

    def build_logger(self, *args, **kwargs) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        keep_terminal_quiet(logger)
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: torch.nn.Module) -> torch.nn.Module:
        if not self.distributed or is_model_wrapper(model):
            return super().wrap_model(None, model)
        return distribute(model.to(get_device()), model_wrapper_cfg, self.cfg, training=self._train_loop is not None)

    def _init_model_weights(self) -> None:
        if not isinstance(self.model, FullyShard) and self._resumed is None:  # else its weights are there or will be
            super()._init_model_weights()

    def register_default_hooks(self, hooks: Mapping[str, Any] | None = None) -> None:
        chosen = copy.deepcopy(DEFAULT_HOOKS) | dict(hooks or {})
        for hook in chosen.values():
            if hook is not None:
                self.register_hook(hook)

    def dump_config(self) -> None:
        """Do nothing at construction; the config is written when the work directory is locked."""

    def register_hook(self, hook: Hook | dict, priority: str | int | Priority | None = None) -> None:
        try:
            super().register_hook(hook, priority)
        except (AssertionError, KeyError, TypeError, ValueError) as error:  # invalid settings
            raise ConfigError(f"hook {hook} cannot be built: {error}") from error
        if isinstance(self.model, FullyShard):
            check_hooks_for_sharding(self.hooks)
        for registered in self.hooks:
            if type(registered) is MMEngineEarlyStoppingHook:  # mmengine's class used in a config
                registered.__class__ = EarlyStoppingHook

    def get_hooks_info(self) -> str:
        """Return the hooks in one line for the log."""
        return ", ".join(type(hook).__name__ for hook in self.hooks)

    # ------------------------------------------------------------------------------------------------ loops and loaders

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a data loader with its own generator, so that it does not change the global random state."""
        if isinstance(dataloader, Mapping):
            dataloader = copy.deepcopy(dataloader)
            if "sampler" not in dataloader and "batch_sampler" not in dataloader:
                raise ConfigError(
                    "a dataloader has no sampler: add sampler=dict(type=EpochSampler, shuffle=True) for training, "
                    "shuffle=False for validation (InfiniteSampler for runs by iterations)"
                )
            dataloader.setdefault("sampler", None)
            if isinstance(dataloader.get("dataset"), Mapping):
                dataloader["dataset"] = build_dataset(dataloader["dataset"])
            if dataloader.get("num_workers", 0) == 0:  # torch does not accept these without workers
                dataloader.pop("persistent_workers", None)
                dataloader.pop("prefetch_factor", None)
        loader = MMEngineRunner.build_dataloader(dataloader, seed=seed, diff_rank_seed=diff_rank_seed)
        if loader.generator is None:
            loader.generator = torch.Generator().manual_seed(seed or 0)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        if isinstance(loop, Mapping) and "type" not in loop:
            loop = copy.deepcopy(loop)
            by_epoch = loop.pop("by_epoch", "max_epochs" in loop)
            loop["type"] = "EpochBasedTrainLoop" if by_epoch else "IterBasedTrainLoop"
        return self._build_loop(loop, dataloader=self._train_dataloader)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        return self._build_loop(loop, "ValLoop", dataloader=self._val_dataloader, evaluator=self._val_evaluator)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        return self._build_loop(loop, "TestLoop", dataloader=self._test_dataloader, evaluator=self._test_evaluator)

    def scale_lr(self, optim_wrapper: OptimWrapper, auto_scale_lr: dict | None = None) -> None:
        super().scale_lr(optim_wrapper, auto_scale_lr)
        self.settings = {
            "config": self._config_settings,
            "optimizers": optimizer_settings(optim_wrapper, self.model),
            "schedules": {},
        }

    def build_param_scheduler(self, scheduler: _ParamScheduler | dict | list) -> list | dict:
        built = super().build_param_scheduler(scheduler)
        if getattr(self._train_loop, "by_epoch", True) is False:
            check_schedules(built)
        self.settings["schedules"] = schedule_settings(built)
        return built

    def _build_loop(self, loop: BaseLoop | dict, default_type: str | None = None, **parts: Any) -> BaseLoop:
        if isinstance(loop, BaseLoop):
            return loop
        loop = copy.deepcopy(loop)
        if default_type is not None:
            loop.setdefault("type", default_type)
        return check_loop(self, LOOPS.build(loop, default_args={"runner": self, **parts}))

    # ------------------------------------------------------------------------------------------------------------- runs

    def train(self) -> torch.nn.Module:
        """Train, and write metrics.json with the metrics of the last validation."""
        self._began = time.time()
        with hold_work_dir(self.work_dir):
            write_config(self.cfg, self.work_dir, self.timestamp)
            if self._resume and not self._has_loaded:
                self._read_resumed_checkpoint()
            model = super().train()
            self._report(self.last_metrics or logged_metrics(self.message_hub), last_checkpoint(self))
        return model

    def test(self) -> dict:
        """Test, and add the metrics to metrics.json; the weights must match the model exactly."""
        self._began = time.time()
        write_config(self.cfg, self.log_dir, self.timestamp)  # does not replace that of training
        metrics = super().test()
        self._report(metrics, self.loaded_from, test=True)
        return metrics

    def _maybe_compile(self, target: str) -> None:
        """Compile the networks of the model once for training, validation and testing."""
        names = compile_networks(unwrap(self.model), self.cfg.get("compile"))
        if names:
            self.logger.info(f"compiling {', '.join(names)}: the first iterations take longer")

    def _report(self, metrics: Mapping[str, Any], checkpoint: str | None, test: bool = False) -> None:
        if is_main_process():
            path, loop = Path(self.work_dir) / "metrics.json", self._test_loop if test else self._val_loop
            facts = {"config": self.cfg.filename, "checkpoint": checkpoint, "seconds": time.time() - self._began}
            write_metrics(path, metrics, loop=loop, test=test, **facts)
            self.logger.info(closing_lines(path, self.log_dir, self.cfg, None if test else checkpoint))

    # ------------------------------------------------------------------------------------------------------ checkpoints

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: Mapping[str, Any] | None = None,
        by_epoch: bool = True,
    ) -> None:
        """Save a checkpoint. Called on all ranks; rank 0 writes.

        Args:
            out_dir: Output folder.
            filename: Name of the file.
            save_optimizer: Save the optimizer state, which is needed to resume.
            save_param_scheduler: Save the scheduler states, which are needed to resume.
            meta: Numbers of finished epochs and iterations, `epoch` and `iter`, and additional entries.
            by_epoch: Whether an epoch or an iteration was finished, if `meta` does not have the numbers.

        Raises:
            CheckpointError: An object is not supported in checkpoints, or the file cannot be written.
        """
        content = checkpoint_content(
            self, {"epoch": self.epoch + by_epoch, "iter": self.iter + (not by_epoch), **(meta or {})},
            save_optimizer=save_optimizer, save_param_scheduler=save_param_scheduler,
        )  # fmt: skip
        if content is not None:
            save_checkpoint(content, Path(out_dir) / filename)

    def load_or_resume(self) -> None:
        self._hook_states = HookStates(self.hooks)
        if getattr(self._train_loop, "by_epoch", True) is False:
            check_hooks(self.hooks)
        if self._has_loaded:
            return
        if self._resume:
            if self._resumed is None:
                self._read_resumed_checkpoint()
            if self._resumed is not None:
                self.resume(self._resumed[0])
        elif self._load_from is not None:
            training = isinstance(self._train_loop, BaseLoop)
            self.load_checkpoint(self._load_from, strict=not training)

    def _read_resumed_checkpoint(self) -> None:
        """Load the checkpoint to resume from, and use its seed."""
        path = self._load_from or call_on_main(lambda: newest_checkpoint(self))
        if path is None:
            self._resume, self._load_from = False, self._start_from
            return
        checkpoint = self.read_checkpoint(path)
        check_run_state(checkpoint, path, [name for name, _ in unwrap(self.model).named_parameters()])
        seed, current = checkpoint["meta"].get("seed"), self._randomness_cfg.get("seed")
        if seed is not None and seed != self.seed:
            if current is not None:
                self.logger.warning(f"the run being resumed used seed {seed}, not {current}: going on with {seed}")
            self._randomness_cfg["seed"] = seed
            self.set_randomness(**self._randomness_cfg)
        self._resumed = (str(path), checkpoint)

    def read_checkpoint(self, path: str | os.PathLike, map_location: Any = "cpu") -> dict:
        """Load a checkpoint for hooks, without `meta.config`, which mmengine would execute as Python code."""
        checkpoint = from_plain(load_checkpoint(path, map_location))
        if "state_dict" not in checkpoint:
            checkpoint = {"state_dict": get_weights(checkpoint, path)}
        if isinstance(checkpoint.get("meta"), dict):
            checkpoint["meta"].pop("config", None)
        return checkpoint

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable = "cpu",
        strict: bool = False,
        revise_keys: list | None = None,
    ) -> dict:
        """Load weights.

        Args:
            filename: Path or http(s) URL.
            map_location: As in `torch.load`.
            strict: Whether missing weights and other shapes are errors; otherwise they keep their values, with a
                warning.
            revise_keys: Must be None; names are converted by vislab.zoo.

        Raises:
            CheckpointError: The file is invalid, or of another model.
        """
        if revise_keys is not None:
            raise ValueError("revise_keys is not supported: convert the checkpoint's names once, into a new file")
        if self._resumed is not None and self._resumed[0] == str(filename):
            checkpoint = self._resumed[1]
        else:
            checkpoint = self.read_checkpoint(filename, map_location)
        check_loaded(self, checkpoint, str(filename), strict=strict)
        try:
            self.call_hook("after_load_checkpoint", checkpoint=checkpoint)  # EMAHook swaps weights
        except Exception:
            load_state(unwrap(self.model), checkpoint, filename, partial=not strict)  # raises the error
            with reading_part(filename, "run's hooks"):
                raise
        load_state(unwrap(self.model), checkpoint, filename, partial=not strict)
        self._has_loaded = True
        self.loaded_from = str(filename)
        self.logger.info(f"loaded {filename}")
        return checkpoint

    def resume(self, filename: str, map_location: str | Callable = "cpu") -> None:
        """Restore weights, optimizer, schedulers, logs and counters; random states are restored before the first batch.

        Raises:
            CheckpointError: The file is invalid, of another model, or of a run with other optimizers or schedulers.
        """
        self._resume = True
        if self._resumed is None or self._resumed[0] != str(filename):
            self._load_from = str(filename)
            self._read_resumed_checkpoint()
        checkpoint = self.load_checkpoint(filename, map_location, strict=True)
        self._began -= seconds_before(checkpoint)
        check_averages(self.hooks, checkpoint, filename)
        restore_counters(self, checkpoint, filename)
        restore_hooks(self, self._hook_states, checkpoint, filename)
        restore_optimization(self, checkpoint, filename)
        self._resumed = None
        tell_differences(self, checkpoint)
