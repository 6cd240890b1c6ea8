"""SSIM and multi-scale SSIM (Wang et al. 2003 and 2004) with an 11x11 Gaussian window of sigma 1.5, on RGB in [0, 1].

Windows lie fully inside the image, channels are evaluated separately and averaged, and each scale halves the image with
2x2 average pooling. Differentiable; computed in float32 for any input dtype. Five scales need sides above 160 pixels.
Smaller images use fewer scales with the published weights renormalized, which is a different quantity: compare only
values with the same number of scales.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
SIGMA = 1.5
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
C1, C2 = 0.01**2, 0.03**2


def ssim(image: Tensor, other: Tensor) -> Tensor:
    """Return the mean structural similarity of (B, C, H, W) images in [0, 1], one value per image, (B,).

    Raises:
        ValueError: The shapes differ, or a side is below 11 pixels.
    """
    _check(image, other, smallest=WINDOW)
    similarity, _ = _ssim_and_contrast(image.float(), other.float())
    return similarity.mean(dim=1)


def ms_ssim_scales(height: int, width: int) -> int:
    """Return how many of the five scales fit: five when both sides exceed 160 pixels, four above 80, and so on."""
    scales = 0
    while scales < len(SCALE_WEIGHTS) and min(height, width) > (WINDOW - 1) * 2**scales:
        scales += 1
    return scales


def ms_ssim(image: Tensor, other: Tensor, scales: int | None = None) -> Tensor:
    """Return the multi-scale SSIM of (B, C, H, W) images in [0, 1], one value per image, (B,).

    Args:
        image: First images.
        other: Second images, of the same shape.
        scales: Number of scales. Default: as many as fit, at most the standard five (see `ms_ssim_scales`).

    Raises:
        ValueError: The shapes differ, or the images are too small for the number of scales.
    """
    fitting = ms_ssim_scales(*image.shape[-2:])
    scales = fitting if scales is None else scales
    _check(image, other, smallest=WINDOW)
    if scales > fitting:
        raise ValueError(
            f"{scales} scales need sides above {(WINDOW - 1) * 2 ** (scales - 1)} pixels, got "
            f"{image.shape[-2]}x{image.shape[-1]}, where {fitting} fit: pass scales={fitting} or larger images"
        )
    weights = torch.tensor(SCALE_WEIGHTS[:scales], device=image.device)
    weights = weights / weights.sum() if scales < len(SCALE_WEIGHTS) else weights
    image, other = image.float(), other.float()
    factors = []
    for scale in range(scales):
        similarity, contrast = _ssim_and_contrast(image, other)  # (B, C) each
        factors.append(contrast if scale < scales - 1 else similarity)
        if scale < scales - 1:
            image, other = _halve(image), _halve(other)
    factors = torch.relu(torch.stack(factors))  # (scales, B, C); negative values have no real power
    return (factors ** weights[:, None, None]).prod(dim=0).mean(dim=1)


def _check(image: Tensor, other: Tensor, smallest: int) -> None:
    if image.shape != other.shape or image.dim() != 4:
        raise ValueError(f"expected two tensors of one shape (B, C, H, W), got {image.shape} and {other.shape}")
    if min(image.shape[-2:]) < smallest:
        raise ValueError(f"SSIM's window needs sides of {smallest} pixels or more, got {tuple(image.shape[-2:])}")


def _ssim_and_contrast(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean SSIM and the mean contrast-structure term of (B, C, H, W) images, each (B, C)."""
    b, c = x.shape[:2]
    # each plane becomes a channel of one depthwise convolution, the fastest form on the CPU
    x, y = (t.reshape(1, b * c, *t.shape[-2:]).contiguous(memory_format=torch.channels_last) for t in (x, y))
    moments = _blur(torch.cat([x, y, x * x, y * y, x * y], dim=1))  # (1, 5 B C, H - 10, W - 10)
    mu_x, mu_y, xx, yy, xy = moments.chunk(5, dim=1)
    contrast = (2 * (xy - mu_x * mu_y) + C2) / (xx - mu_x * mu_x + yy - mu_y * mu_y + C2)
    luminance = (2 * mu_x * mu_y + C1) / (mu_x * mu_x + mu_y * mu_y + C1)
    return (luminance * contrast).mean((2, 3)).view(b, c), contrast.mean((2, 3)).view(b, c)


def _blur(planes: Tensor) -> Tensor:
    """Apply the separable Gaussian window to (1, N, H, W), without padding."""
    count = planes.shape[1]
    offset = torch.arange(WINDOW, dtype=torch.float32, device=planes.device) - WINDOW // 2
    window = torch.exp(-(offset**2) / (2 * SIGMA**2))
    window = (window / window.sum()).repeat(count, 1, 1, 1)  # (N, 1, 1, 11)
    return F.conv2d(F.conv2d(planes, window.transpose(2, 3), groups=count), window, groups=count)


def _halve(x: Tensor) -> Tensor:
    """2x2 average pooling; odd sides are padded with zeros on both ends, which count in the average, as is common."""
    return F.avg_pool2d(x, 2, padding=[side % 2 for side in x.shape[-2:]])
