"""Hook that shows a progress line with rate, loss and remaining time in terminals.

Periodic messages of LoggerHook are hidden in the terminal, but not in the log file; other messages appear above the
line.
"""

import atexit
import logging
import sys
import time
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from torch import Tensor

from vislab.registry import HOOKS

_LIVE_LINES = ("after_train_iter", "after_val_iter", "after_test_iter")


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the progress of training, validation and testing on the main process, if stderr is a terminal.

    Args:
        refresh: Seconds between updates; reading the loss synchronizes with the GPU.
    """

    priority = "VERY_LOW"

    def __init__(self, *, refresh: float = 0.25) -> None:
        self.refresh = refresh
        self._bar = None
        self._tasks: dict[str, _Task] = {}

    # -- the run --

    def before_run(self, runner) -> None:
        if not _on_terminal():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}  {task.fields[loss]}  {task.fields[left]}"),
            console=Console(stderr=True),
            auto_refresh=False,
            expand=True,
        )
        self._bar.start()
        self._quiet = _QuietTerminal(runner.logger, self._bar.console)
        atexit.register(self._stop)  # restore the cursor after exceptions, which skip after_run

    def after_run(self, runner) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._quiet.undo()
            self._bar = None
            self._tasks.clear()
            atexit.unregister(self._stop)

    # -- events of the run, called by mmengine --

    def before_train(self, runner) -> None:
        self._begin("train", runner.max_iters, done=runner.iter)

    def before_val_epoch(self, runner) -> None:
        self._begin("val", len(runner.val_dataloader))

    def before_test_epoch(self, runner) -> None:
        self._begin("test", len(runner.test_dataloader))

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        if self._bar is not None:
            self._advance("train", runner.iter + 1, runner, outputs)

    def after_val_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._bar is not None:
            self._advance("val", batch_idx + 1)

    def after_test_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if self._bar is not None:
            self._advance("test", batch_idx + 1)

    def after_train(self, runner) -> None:
        self._end("train", keep=True)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._end("val", keep=False)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._end("test", keep=True)

    # -- the line --

    def _begin(self, name: str, total: int, done: int = 0) -> None:
        if self._bar is None:
            return
        for task in self._tasks.values():  # one line: validation replaces training
            self._bar.update(task.row, visible=False)
        row = self._bar.add_task(name, total=total, completed=done, rate="", loss="", left="")
        self._tasks[name] = _Task(row, total, done)
        self._bar.refresh()

    def _advance(self, name: str, done: int, runner=None, outputs: dict | None = None) -> None:
        task, now = self._tasks[name], time.monotonic()
        if now - task.shown < self.refresh and done < task.total:
            return
        rate = task.update(done, now)
        fields = {"rate": f"{rate:.3g} it/s" if rate >= 1 else f"{1 / max(rate, 1e-9):.3g} s/it"}
        fields["left"] = _clock((task.total - done) / max(rate, 1e-9)) + " left"
        if outputs and "loss" in outputs:
            loss = outputs["loss"]
            fields["loss"] = f"loss {float(loss.detach() if isinstance(loss, Tensor) else loss):.4g}"
        if name == "train" and getattr(runner.train_loop, "max_epochs", None):
            fields["description"] = f"train {min(runner.epoch + 1, runner.max_epochs)}/{runner.max_epochs}"
        self._bar.update(task.row, completed=done, **fields)
        self._bar.refresh()

    def _end(self, name: str, keep: bool) -> None:
        task = self._tasks.pop(name, None)
        if task is None or self._bar is None:
            return
        spent = time.monotonic() - task.began
        if keep:
            self._bar.update(task.row, completed=task.total, left=_clock(spent))
        else:
            self._bar.remove_task(task.row)
        for other in self._tasks.values():
            other.shown += spent  # exclude the time of this task from its rate
            self._bar.update(other.row, visible=True)
        self._bar.refresh()


class _Task:
    """Progress of one task, with an exponentially averaged rate."""

    def __init__(self, row: int, total: int, done: int) -> None:
        self.row, self.total, self.done = row, total, done
        self.began = self.shown = time.monotonic()
        self.rate = 0.0

    def update(self, done: int, now: float) -> float:
        rate = (done - self.done) / max(now - self.shown, 1e-9)
        self.rate = 0.9 * self.rate + 0.1 * rate if self.rate else rate
        self.done, self.shown = done, now
        return self.rate


class _QuietTerminal:
    """Prints log messages above the progress line, without those that the line replaces."""

    def __init__(self, logger: logging.Logger, console) -> None:
        from rich.file_proxy import FileProxy

        self.changed = []
        for handler in logger.handlers:
            stream = getattr(handler, "stream", None)
            if type(handler) is logging.StreamHandler and stream is not None and stream.isatty():
                handler.setStream(FileProxy(console, stream))
                handler.addFilter(_is_no_live_line)
                self.changed.append((handler, stream))

    def undo(self) -> None:
        for handler, stream in self.changed:
            handler.setStream(stream)
            handler.removeFilter(_is_no_live_line)


def _is_no_live_line(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or record.module != "logger_hook" or record.funcName not in _LIVE_LINES


def _on_terminal() -> bool:
    return sys.stderr.isatty() and is_main_process()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
