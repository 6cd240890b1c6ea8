"""Augmentation of batches on the device, for small images for which transforms per sample would be too slow."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.registry import MODELS


@MODELS.register_module()
class RandomShiftFlip(nn.Module):
    """Random shift by padding and cropping, and random horizontal flip, as usual for CIFAR.

    Applied to the normalized batch with `ImagePreprocessor(batch_augment=dict(type=RandomShiftFlip))`, so padding has
    the mean color. For classification only, since labels with positions are not transformed. Uses torch's CPU
    generator.

    Args:
        padding: Maximum shift in pixels.
        flip: Probability of a horizontal flip.
    """

    def __init__(self, *, padding: int = 4, flip: float = 0.5) -> None:
        super().__init__()
        self.padding = padding
        self.flip = flip

    def forward(self, inputs: Tensor, data_samples: list | None = None) -> tuple[Tensor, list | None]:
        """Augment images (B, C, H, W); the samples are returned unchanged."""
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


@MODELS.register_module()
class RandomErasing(nn.Module):
    """Replaces a random rectangle of an image by noise (Zhong et al., 2020), by timm.

    Applied to the normalized batch with `ImagePreprocessor(batch_augment=dict(type=RandomErasing))`, so that the noise
    has mean 0 and deviation 1. For classification only. Places use Python's generator, noise that of the device.

    Args:
        prob: Probability for an image.
        area: Range of the area relative to the image.
    """

    def __init__(self, *, prob: float = 0.25, area: tuple[float, float] = (0.02, 1 / 3)) -> None:
        super().__init__()
        self.prob, self.area = prob, tuple(area)

    def forward(self, inputs: Tensor, data_samples: list | None = None) -> tuple[Tensor, list | None]:
        """Erase in images (B, C, H, W), in place; the samples are returned unchanged."""
        from timm.data.random_erasing import RandomErasing as TimmErasing  # imported late: takes a second

        low, high = self.area
        erase = TimmErasing(self.prob, low, high, mode="pixel", device=inputs.device)
        return erase(inputs), data_samples
