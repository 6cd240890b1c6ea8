"""Augmentation of a whole batch on its device, for images so small that one transform a sample would bound the step."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.registry import MODELS


@MODELS.register_module()
class RandomShiftFlip(nn.Module):
    """Pad, cut out a random window of the old size, and mirror half of the images: CIFAR's usual augmentation.

    It runs on the normalized batch, `ImagePreprocessor(batch_augment=dict(type=RandomShiftFlip))`, so padding is the
    mean color. Labels that have a place in the image are not moved: for classification only. Draws from torch's
    generator of the CPU.

    Args:
        padding: pixels on every side.
        flip: probability of mirroring left to right.
    """

    def __init__(self, *, padding: int = 4, flip: float = 0.5) -> None:
        super().__init__()
        self.padding = padding
        self.flip = flip

    def forward(self, inputs: Tensor, data_samples: list | None = None) -> tuple[Tensor, list | None]:
        """(B, C, H, W) -> the same shape; the samples are passed on."""
        count, _, height, width = inputs.shape
        room = 2 * self.padding + 1
        top, left = torch.randint(room, (2, count, 1))
        mirrored = torch.rand(count, 1) < self.flip
        rows = top + torch.arange(height)  # (B, H)
        columns = left + torch.where(mirrored, torch.arange(width - 1, -1, -1), torch.arange(width))  # (B, W)
        rows, columns = (x.to(inputs.device, non_blocking=True) for x in (rows, columns))
        padded = F.pad(inputs, [self.padding] * 4).permute(0, 2, 3, 1)
        image = torch.arange(count, device=inputs.device)
        moved = padded[image[:, None, None], rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
        return moved.permute(0, 3, 1, 2).contiguous(), data_samples
