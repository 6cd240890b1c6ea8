"""Patch mmengine's LoggerHook to log validations by epoch or iteration, as in the training loop.

By default it logs validations by epoch, which is always 0 in runs by iterations, so all validations would be at the
same position in curves. The class is patched because configs use it.
"""

from mmengine.hooks import LoggerHook


def _follow_loop(self: LoggerHook, runner) -> None:
    if not getattr(runner.train_loop, "by_epoch", True):
        self.log_metric_by_epoch = False
        runner.log_processor.by_epoch = False


if "before_train" not in vars(LoggerHook):
    LoggerHook.before_train = _follow_loop
