"""Hook that draws curves of the training loss and of validation metrics.

The values are stored in the message hub, so that they are restored when resuming; the image is updated after each
validation.
"""

from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vislab.errors import ConfigError
from vislab.registry import HOOKS

_STORE = "curves"
_FORMATS = (".png", ".pdf", ".svg", ".jpg", ".webp")


@HOOKS.register_module()
class CurveHook(Hook):
    """Write WORK_DIR/`file` with the loss (log scale) and the metrics over epochs, or over iterations in such a run.

    Args:
        metrics: Names of validation metrics to draw, as in metrics.json, one panel each.
        file: Name of the image file.
    """

    priority = "LOW"

    def __init__(self, *, metrics: Sequence[str] = (), file: str = "curves.png"):
        self.metrics = [metrics] if isinstance(metrics, str) else list(metrics)
        if Path(file).suffix not in _FORMATS:
            raise ConfigError(f"CurveHook: file={file!r} is not an image; its name must end in {', '.join(_FORMATS)}")
        self.file = file

    def after_train_epoch(self, runner: Runner) -> None:
        if _by_epoch(runner):  # before the epoch counter is incremented
            self._store_loss(runner, runner.epoch + 1, len(runner.train_dataloader))
        else:
            self._store_loss_since_last(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if _by_epoch(runner):
            step = runner.epoch
        else:
            step = runner.iter
            self._store_loss_since_last(runner)
        for name in self.metrics:
            if name in (metrics or {}):
                self._store(runner, name, step, float(metrics[name]))
        self._draw(runner)

    def after_train(self, runner: Runner) -> None:
        self._draw(runner)

    def _store_loss_since_last(self, runner: Runner) -> None:
        """Store the mean loss since the last point, for runs by iterations, at each validation and at the end."""
        points = runner.message_hub.get_info(_STORE, {}).get("loss", [])
        count = runner.iter - (points[-1][0] if points else 0)
        if count > 0:
            self._store_loss(runner, runner.iter, count)

    def _store_loss(self, runner: Runner, step: int, count: int) -> None:
        losses = runner.message_hub.log_scalars.get("train/loss")
        if losses is not None:
            self._store(runner, "loss", step, float(losses.mean(count)))

    def _store(self, runner: Runner, name: str, step: int, value: float) -> None:
        hub = runner.message_hub
        curves = hub.get_info(_STORE, {})
        points = [p for p in curves.get(name, []) if p[0] < step]
        hub.update_info(_STORE, {**curves, name: [*points, [step, value]]})

    def _draw(self, runner: Runner) -> None:
        curves = runner.message_hub.get_info(_STORE, {})
        names = [name for name in ("loss", *self.metrics) if curves.get(name)]
        if not names or not is_main_process():
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure  # not pyplot, which would select a GUI backend

        figure = Figure(figsize=(5 * len(names), 3.5), layout="constrained")
        FigureCanvasAgg(figure)
        for name, axes in zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True):
            steps, values = zip(*curves[name], strict=True)
            axes.plot(steps, values, marker=".", linewidth=1)
            axes.set(xlabel="epoch" if _by_epoch(runner) else "iteration", title=f"{name}: {values[-1]:.4g} at the end")
            if name == "loss" and min(values) > 0:
                axes.set_yscale("log")
            axes.grid(alpha=0.3)
        figure.savefig(Path(runner.work_dir, self.file), dpi=100)


def _by_epoch(runner: Runner) -> bool:
    """Return whether the training loop counts epochs, without building it in runs that only validate."""
    return getattr(runner._train_loop, "by_epoch", True)
