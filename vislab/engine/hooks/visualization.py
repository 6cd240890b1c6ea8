"""Hook that draws predictions of validation and test images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner.amp import autocast

from vislab.errors import ConfigError
from vislab.evaluation.frame import original_labels
from vislab.io.images import read_rgb
from vislab.registry import HOOKS


@HOOKS.register_module()
class VisualizationHook(Hook):
    """Draws predictions and ground truth on the original images.

    Images of validation are sent to the visualizer of the run: to vis_data/vis_image/ and other backends such as
    TensorBoard. The same images are drawn in each validation.

    After the last validation of a run and after a test, the images with the worst scores (`details` of the metrics) are
    predicted again and drawn to vis_data/worst/; not with several processes.

    Args:
        number: Number of images per validation, on the main process.
        interval: Draw in every `interval`-th validation, including the first.
        worst: Number of images with the worst scores to draw, for each metric that has them.
        test_out_dir: Folder for images of all test samples. Default: test samples are not drawn.
    """

    priority = "NORMAL"

    def __init__(self, *, number: int = 8, interval: int = 1, worst: int = 6, test_out_dir: str | None = None) -> None:
        if number < 0 or worst < 0 or interval < 1:
            raise ConfigError(
                f"VisualizationHook: number={number} and worst={worst} must be >= 0 and interval={interval} >= 1"
            )
        self.number, self.interval, self.worst, self.test_out_dir = number, interval, worst, test_out_dir
        self._validations = -1
        self._drawn = 0

    def state_dict(self) -> dict[str, int]:
        return {"validations": self._validations}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._validations = state["validations"]

    def before_val_epoch(self, runner) -> None:
        self._validations += 1
        self._drawn = 0

    def after_val_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        if self._validations % self.interval or self._drawn >= self.number or not is_main_process():
            return
        for image, sample in zip(data_batch["inputs"], outputs, strict=True):
            if self._drawn >= self.number:
                break
            name = f"val_{self._drawn:03d}"
            runner.visualizer.add_datasample(
                name, original_image(image, sample), original_labels(sample), step=_step(runner)
            )
            self._drawn += 1

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        if _is_last(runner):
            self._draw_worst(runner, runner.val_loop)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._draw_worst(runner, runner.test_loop)

    @torch.no_grad()
    def _draw_worst(self, runner, loop) -> None:
        if get_world_size() > 1:
            return
        for metric in loop.evaluator.metrics:
            details = getattr(metric, "details", None)
            for place, image in enumerate(details.worst[: self.worst] if details else ()):
                if image.index is None or image.index >= len(loop.dataloader.dataset):
                    continue
                batch = pseudo_collate([loop.dataloader.dataset[image.index]])
                if batch["data_samples"][0].get("img_path") != image.image:  # an index within a part of the dataset
                    continue
                with autocast(enabled=loop.fp16):
                    sample = runner.model.val_step(batch)[0]
                file = Path(runner.log_dir, "vis_data", "worst", f"{details.metric}_{place:02d}.png")
                picture = original_image(batch["inputs"][0], sample)
                runner.visualizer.add_datasample(file.stem, picture, original_labels(sample), out_file=file)
                image.picture = str(file.relative_to(runner.work_dir))

    def after_test_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        if self.test_out_dir is None:
            return
        for number, (image, sample) in enumerate(zip(data_batch["inputs"], outputs, strict=True)):
            index = sample.get("sample_idx", batch_idx * len(outputs) + number)
            name = f"{int(index):06d}_{Path(sample.get('img_path') or 'image').stem}.png"
            picture = runner.visualizer.draw_datasample(original_image(image, sample), original_labels(sample))
            target = Path(self.test_out_dir, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), picture[..., ::-1])


def original_image(image, sample: Mapping[str, Any]) -> np.ndarray:
    """Return the image (H, W, 3) uint8 RGB in the frame of the predictions.

    Args:
        image: Input before the data preprocessor, uint8 tensor (3, h, w).
        sample: Its DataSample; if `ori_shape` differs, the file is read again, or the input resized if there is no
            file.
    """
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    shape = tuple(sample.get("ori_shape") or pixels.shape[:2])
    if shape == pixels.shape[:2]:
        return pixels
    path = sample.get("img_path")
    if path and Path(path).is_file():
        whole = read_rgb(path)
        if whole.shape[:2] == shape:
            return whole
    return cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)


def _is_last(runner) -> bool:
    """Return whether the training is over, or there is none."""
    loop = runner._train_loop
    if loop is None or isinstance(loop, dict):
        return True
    return loop.epoch >= loop.max_epochs if loop.by_epoch else loop.iter >= loop.max_iters


def _step(runner) -> int:
    """Return the training iteration, 0 without training; `runner.iter` would build the training loop."""
    loop = runner._train_loop
    return runner.iter if loop is not None and not isinstance(loop, dict) else 0
