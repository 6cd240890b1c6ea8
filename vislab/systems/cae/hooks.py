"""Hook that draws reconstructions of validation images: input, masked input, reconstruction."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vislab.engine.distributed import unwrap
from vislab.errors import ConfigError
from vislab.io.atomic import write_atomically
from vislab.registry import HOOKS
from vislab.structures import DataSample
from vislab.systems.cae.model import CAE
from vislab.systems.cae.targets import Target
from vislab.visualization import draw

MASKED = 128  # gray value of masked patches
MIN_SIDE = 192  # smaller images are enlarged by whole factors, so that the titles fit


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Draws the first images of a validation: input, masked input, and reconstruction with the target's name.

    Reconstructions show the visible patches and the predicted ones; for normalized pixels, with the mean and standard
    deviation of the true patches put back. The image goes to WORK_DIR/`file` and to the visualizer of the run. Targets
    that are no pictures (histograms, features, clusters, codes) are refused.

    Args:
        number: Number of images.
        columns: Images side by side.
        interval: Draw at every `interval`-th validation, the first one included.
        file: Name of the image file.

    Raises:
        ConfigError: At the start of training: the model is no CAE, has no decoder, or its target cannot be drawn.
    """

    priority = "LOW"

    def __init__(
        self, *, number: int = 8, columns: int = 2, interval: int = 1, file: str = "reconstructions.png"
    ) -> None:
        if min(number, columns, interval) < 1:
            raise ConfigError(
                f"ReconstructionHook: number={number}, columns={columns}, interval={interval}: at least 1"
            )
        self.number, self.columns, self.interval, self.file = number, columns, interval, file
        self._validations = -1
        self._rows: list[list[tuple[str, np.ndarray]]] = []

    def state_dict(self) -> dict[str, int]:
        return {"validations": self._validations}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._validations = state["validations"]

    def before_train(self, runner: Runner) -> None:
        check_drawable(unwrap(runner.model))

    def before_val_epoch(self, runner: Runner) -> None:
        self._validations += 1
        self._rows = []

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[DataSample] | None = None
    ) -> None:
        if self._validations % self.interval or not is_main_process():
            return
        model = unwrap(runner.model)
        for image, sample in zip(data_batch["inputs"], outputs or (), strict=False):
            if len(self._rows) < self.number and "pred_image" in sample:
                self._rows.append(draw_row(image.permute(1, 2, 0).cpu().numpy(), sample, model.target.name))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if not self._rows:
            return
        rows = [
            [panel for row in self._rows[i : i + self.columns] for panel in row]
            for i in range(0, len(self._rows), self.columns)
        ]
        sheet = draw.tile(rows)
        done, data = cv2.imencode(Path(self.file).suffix or ".png", sheet[..., ::-1])
        if done:
            write_atomically(Path(runner.work_dir, self.file), lambda file: file.write(data.tobytes()))
        loop = runner._train_loop  # runner.iter would build the loop in runs that only validate
        runner.visualizer.add_image(
            "reconstructions", sheet, 0 if loop is None or isinstance(loop, dict) else runner.iter
        )


def check_drawable(model: Any) -> None:
    """Raise ConfigError unless a model predicts pictures."""
    if not isinstance(model, CAE):
        raise ConfigError(f"ReconstructionHook draws CAE, not {type(model).__name__}: remove it from custom_hooks")
    if model.decoder is None:
        raise ConfigError("ReconstructionHook: reconstruction_weight=0 leaves nothing to draw: remove the hook")
    if type(model.target).draw is Target.draw:
        raise ConfigError(
            f"ReconstructionHook: the target {model.target.name!r} is no picture: remove the hook from custom_hooks, "
            "or use NormPixelTarget or PixelTarget"
        )


def draw_row(image: np.ndarray, sample: DataSample, target: str) -> list[tuple[str, np.ndarray]]:
    """Return titles and images (h, w, 3) uint8 RGB: input, masked input, reconstruction.

    Args:
        image: (H, W, 3) uint8 RGB, before the data preprocessor.
        sample: With patch_mask (h, w) bool and pred_image (3, H, W) in [0, 1].
        target: Name of the reconstruction target, for the title.
    """
    height, width = image.shape[:2]
    mask = np.asarray(sample.patch_mask.cpu())
    hidden = mask.repeat(height // mask.shape[0], axis=0).repeat(width // mask.shape[1], axis=1)  # (H, W)
    pixels = sample.pred_image.float().cpu().clamp(0, 1).permute(1, 2, 0).numpy()
    made = (pixels * 255).round().astype(np.uint8)
    masked = np.where(hidden[..., None], np.uint8(MASKED), image)
    names = ("input", f"{mask.mean():.0%} masked", f"from {target}")
    return [(name, _enlarged(picture)) for name, picture in zip(names, (image, masked, made), strict=True)]


def _enlarged(image: np.ndarray) -> np.ndarray:
    factor = max(1, -(-MIN_SIDE // min(image.shape[:2])))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
