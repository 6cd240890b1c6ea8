"""Inference of dense networks on whole images or sliding windows, with flipping and several scales."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.registry import TASK_UTILS


@TASK_UTILS.register_module()
class DenseInference:
    """Averages the outputs of a network over windows and views.

    Raw outputs are averaged over windows, and activated outputs (probabilities, meters) at the size of the image over
    views (flipped and scaled images), as is usual for published segmentation results.

    Args:
        window: Height and width of the windows. Default: the whole image. Smaller images are processed as a whole.
        stride: Distance of windows. Default: two thirds of the window. The last window is at the border.
        flip: Add horizontally flipped views.
        scales: Factors on the size of the image, one view each.
    """

    def __init__(
        self,
        *,
        window: int | Sequence[int] | None = None,
        stride: int | Sequence[int] | None = None,
        flip: bool = False,
        scales: Sequence[float] = (1.0,),
    ):
        if window is None and stride is not None:
            raise ConfigError(f"DenseInference: stride={stride!r} needs a window")
        self.window = None if window is None else _pair(window)
        self.stride = None
        if self.window is not None:
            self.stride = tuple(max(1, n * 2 // 3) for n in self.window) if stride is None else _pair(stride)
            if not all(0 < s <= w for s, w in zip(self.stride, self.window, strict=True)):
                raise ConfigError(f"DenseInference: stride={stride!r} leaves gaps between windows of {self.window}")
        self.flip, self.scales = flip, tuple(scales)
        if not self.scales or min(self.scales) <= 0:
            raise ConfigError(f"DenseInference: scales={scales!r} must be positive factors, at least one")

    def __str__(self) -> str:
        """Return a description for reports: "whole", "slide 512x512/341x341, flip, scales 0.5 1 1.5"."""
        parts = ["whole"]
        if self.window is not None:
            parts = [f"slide {'x'.join(map(str, self.window))}/{'x'.join(map(str, self.stride))}"]
        parts += ["flip"] if self.flip else []
        parts += [] if self.scales == (1.0,) else [f"scales {' '.join(f'{s:g}' for s in self.scales)}"]
        return ", ".join(parts)

    @property
    def views(self) -> int:
        """Number of views of an image."""
        return len(self.scales) * (2 if self.flip else 1)

    def __call__(
        self, network: Callable[[Tensor], Tensor], images: Tensor, activate: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Return averaged float32 maps (B, K, H, W) of images (B, C, H, W); `activate` is applied to each view."""
        size, total = images.shape[-2:], None
        for view in self._views(images):
            mirrored, image = view
            raw = self._windows(network, image).float()
            raw = _resize(raw, size)
            output = activate(raw)
            output = output.flip(-1) if mirrored else output
            total = output if total is None else total + output
        return total / self.views if self.views > 1 else total

    def _views(self, images: Tensor) -> Iterator[tuple[bool, Tensor]]:
        height, width = images.shape[-2:]
        for scale in self.scales:
            scaled = _resize(images, (max(1, round(height * scale)), max(1, round(width * scale))))
            yield False, scaled
            if self.flip:
                yield True, scaled.flip(-1)

    def _windows(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if self.window is None or (height <= self.window[0] and width <= self.window[1]):
            return network(images)
        rows, columns = min(self.window[0], height), min(self.window[1], width)
        total, count = None, images.new_zeros((1, 1, height, width), dtype=torch.float32)
        for top in _starts(height, rows, self.stride[0]):
            for left in _starts(width, columns, self.stride[1]):
                place = (..., slice(top, top + rows), slice(left, left + columns))
                output = network(images[place]).float()
                if total is None:
                    total = output.new_zeros((*output.shape[:2], height, width))
                total[place] += output
                count[place] += 1
        return total / count


def _starts(length: int, window: int, stride: int) -> list[int]:
    """Return the start positions of windows: every `stride`, and a last one that ends at the border."""
    starts = list(range(0, length - window, stride))
    return [*starts, length - window]


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    pair = (size, size) if isinstance(size, int) else tuple(size)
    if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
        raise ConfigError(f"DenseInference: {size!r} is not a size: expected one number or (height, width)")
    return pair


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
