"""Lets mmengine's LoggerHook follow the training loop.

By itself it logs validations by epoch unless told otherwise, and in a run by iterations the epoch is always 0: all
validations would stand at one point of every curve. The class of mmengine is changed, since configs name that class.
"""

from mmengine.hooks import LoggerHook


def _follow_loop(self: LoggerHook, runner) -> None:
    if not getattr(runner.train_loop, "by_epoch", True):
        self.log_metric_by_epoch = False
        runner.log_processor.by_epoch = False


if "before_train" not in vars(LoggerHook):
    LoggerHook.before_train = _follow_loop
