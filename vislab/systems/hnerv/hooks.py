"""Hook that draws original, reconstruction and error of a few frames at the end of a run."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vislab.engine.distributed import unwrap
from vislab.evaluation.video import psnr
from vislab.registry import HOOKS


@HOOKS.register_module()
class VideoReportHook(Hook):
    """Write an image to WORK_DIR/`file` after training: original, reconstruction and difference, one row per frame.

    Args:
        rows: Number of frames, evenly distributed over the validation video.
        gain: Factor on the difference.
        file: Name of the image file.
    """

    needs_whole_model = True  # not supported by FullyShard
    priority = "LOW"

    def __init__(self, *, rows: int = 3, gain: float = 4.0, file: str = "reconstruction.png"):
        self.rows = rows
        self.gain = gain
        self.file = file

    def after_train(self, runner: Runner) -> None:
        if runner.val_loop is None or not is_main_process():
            return
        dataset = runner.val_dataloader.dataset
        model = unwrap(runner.model)
        training = model.training
        model.eval()
        numbers = np.linspace(0, len(dataset) - 1, min(self.rows, len(dataset))).round().astype(int)
        rows = []
        for number in numbers:
            sample = dataset[int(number)]
            with torch.no_grad():
                (prediction,) = model.test_step(pseudo_collate([sample]))
            rows.append(draw_row(sample["inputs"], prediction.pred_image.cpu(), int(number), self.gain))
        model.train(training)
        sheet = np.concatenate(rows)
        cv2.imwrite(str(Path(runner.work_dir, self.file)), sheet[..., ::-1])


def draw_row(frame: torch.Tensor, image: torch.Tensor, number: int, gain: float) -> np.ndarray:
    """Draw original, reconstruction and difference side by side with a caption.

    Args:
        frame: (3, H, W) uint8.
        image: (3, H, W) float in [0, 1].
        number: Frame number, for the caption.
        gain: Factor on the difference.

    Returns:
        (H + 20, 3 W, 3) uint8 RGB.
    """
    target = frame.float() / 255
    decibels = psnr(image[None], target[None]).item()
    strip = torch.cat([target, image, ((image - target).abs() * gain).clamp(0, 1)], dim=2)  # (3, H, 3 W)
    pixels = (strip * 255).round().byte().permute(1, 2, 0).numpy()
    caption = np.full((20, pixels.shape[1], 3), 255, np.uint8)
    width = pixels.shape[1] // 3
    for i, text in enumerate((f"frame {number}", f"reconstruction {decibels:.2f} dB", f"difference x{gain:g}")):
        cv2.putText(caption, text, (i * width + 4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([caption, pixels])
