"""Pictures of predictions: the first images of every K-th validation, and of every image at test when asked for."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from vislab.errors import ConfigError
from vislab.io.images import read_rgb
from vislab.registry import HOOKS


@HOOKS.register_module()
class VisualizationHook(Hook):
    """Draws predictions beside the ground truth, on the original image.

    Validation pictures go to the run's visualizer: into vis_data/vis_image/ and to every other back-end that is
    configured (TensorBoard ...). The same images are drawn each time, so that progress can be seen.

    Args:
        number: how many images of a validation, counted on the main process.
        interval: draw at every `interval`-th validation, the first included.
        test_out_dir: folder for a picture of every image of a test; None: no pictures at test.
    """

    priority = "NORMAL"

    def __init__(self, *, number: int = 8, interval: int = 1, test_out_dir: str | None = None) -> None:
        if number < 0 or interval < 1:
            raise ConfigError(f"VisualizationHook: number={number} must be >= 0 and interval={interval} >= 1")
        self.number, self.interval, self.test_out_dir = number, interval, test_out_dir
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
            runner.visualizer.add_datasample(name, original_image(image, sample), sample.cpu(), step=_step(runner))
            self._drawn += 1

    def after_test_iter(self, runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None) -> None:
        if self.test_out_dir is None:
            return
        for number, (image, sample) in enumerate(zip(data_batch["inputs"], outputs, strict=True)):
            index = sample.get("sample_idx", batch_idx * len(outputs) + number)
            name = f"{int(index):06d}_{Path(sample.get('img_path') or 'image').stem}.png"
            picture = runner.visualizer.draw_datasample(original_image(image, sample), sample.cpu())
            target = Path(self.test_out_dir, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(target), picture[..., ::-1])


def original_image(image, sample: Mapping[str, Any]) -> np.ndarray:
    """The image in the frame that predictions are given in, (H, W, 3) uint8 RGB.

    Args:
        image: what the network was given before the data preprocessor, uint8 tensor (3, h, w).
        sample: its DataSample; where its `ori_shape` differs the file is read again, or, when there is none, the
            network's image is scaled.
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


def _step(runner) -> int:
    """Training iterations so far; 0 when the run only validates. Asking `runner.iter` would build the train loop."""
    loop = runner._train_loop
    return runner.iter if loop is not None and not isinstance(loop, dict) else 0
