"""Hook that stops a run if the loss or weights are not finite."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from torch.distributed.tensor import DTensor

from vislab.errors import TrainingError
from vislab.registry import HOOKS


@HOOKS.register_module()
class NanGuardHook(Hook):
    """Raises TrainingError if a loss is not finite, and before saving a checkpoint with such weights.

    On the CPU each step is checked. On an accelerator, losses are kept on the device and checked together every
    `interval` steps and before each checkpoint, to avoid synchronization; the message names the first invalid step.

    Args:
        interval: Steps between checks on an accelerator.
    """

    priority = "HIGH"

    def __init__(self, *, interval: int = 10) -> None:
        self.interval = interval
        self._unread: deque[tuple[int, dict[str, torch.Tensor], Any]] = deque()

    def after_train_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None) -> None:
        losses = {k: v.detach() for k, v in (outputs or {}).items() if isinstance(v, torch.Tensor) and v.numel() == 1}
        if not losses:
            return
        on_cpu = next(iter(losses.values())).device.type == "cpu"
        if on_cpu and all(math.isfinite(value.item()) for value in losses.values()):
            return
        self._unread.append((runner.iter + 1, losses, _image_names(data_batch)))
        if on_cpu or len(self._unread) >= self.interval:
            self._read(runner)

    def before_train_epoch(self, runner) -> None:
        self._unread.clear()

    def collect_rank_states(self, runner) -> None:
        """Called on every rank before a checkpoint is saved."""
        self._read(runner)
        mine = [name for name, parameter in runner.model.named_parameters() if not _all_finite(parameter)]
        bad = list(dict.fromkeys(name for names in all_gather_object(mine) for name in names))
        if bad:
            raise TrainingError(
                f"after iteration {runner.iter} these weights are NaN or infinite: {', '.join(bad[:5])}"
                f"{f' and {len(bad) - 5} more' if len(bad) > 5 else ''}. No checkpoint of them was written; the last "
                f"good one is in {runner.work_dir}. {_REMEDY}"
            )

    def _read(self, runner) -> None:
        if not self._unread:
            return
        flat = [value.reshape(()).float() for _, losses, _ in self._unread for value in losses.values()]
        if torch.isfinite(torch.stack(flat)).all():
            self._unread.clear()
            return
        for step, losses, images in self._unread:
            bad = {name: value.item() for name, value in losses.items() if not torch.isfinite(value)}
            if bad:
                self._unread.clear()
                values = ", ".join(f"{name}={value}" for name, value in bad.items())
                finite = ", ".join(f"{k}={v.item():.4g}" for k, v in losses.items() if k not in bad) or "none"
                raise TrainingError(
                    f"at iteration {step} the loss is not finite: {values} (finite ones: {finite}). Images of this "
                    f"process's batch: {', '.join(images) or 'unnamed'}. Checkpoints in {runner.work_dir} are from "
                    f"before. {_REMEDY}"
                )


_NAME_KEYS = ("img_path", "sample_idx", "frame_idx")
_REMEDY = (
    "Lower the learning rate (--cfg-options optim_wrapper.optimizer.lr=...), clip gradients "
    "(optim_wrapper.clip_grad.max_norm=1.0), train without --amp, or look at those images; then --resume."
)


def _all_finite(tensor: torch.Tensor) -> bool:
    if not tensor.is_floating_point():
        return True
    if isinstance(tensor, DTensor):  # this process's part
        tensor = tensor.to_local()
    return bool(torch.isfinite(tensor.detach().sum(dtype=torch.float64))) or bool(torch.isfinite(tensor).all())


def _image_names(data_batch: Any) -> list[str]:
    """Return paths or ids of the samples in a batch, if available."""
    samples = data_batch.get("data_samples") if isinstance(data_batch, Mapping) else None
    if isinstance(samples, Mapping):  # collated dicts: one list per key
        return [str(name) for name in next((samples[key] for key in _NAME_KEYS if key in samples), [])][:16]
    names = []
    for sample in samples if isinstance(samples, (list, tuple)) else []:
        info = getattr(sample, "metainfo", {})
        names += [str(info[key]) for key in _NAME_KEYS if key in info][:1]
    return names[:16]
