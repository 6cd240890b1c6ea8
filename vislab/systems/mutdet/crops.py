"""Embeddings of objects: rotated crops of an image, and a frozen encoder of them."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.ops.images import normalize


def rotated_crops(
    images: Tensor, rboxes: Tensor, *, size: int = 224, enlarge: float = 1.5, sampling: int = 2
) -> Tensor:
    """Return crops (M, C, size, size) of rotated boxes, warped to squares with side w of the box to the right.

    Args:
        images: One image (1, C, H, W); places outside of it are 0.
        rboxes: (M, 5).
        size: Side of the crops in pixels.
        enlarge: Factor of both sides of the boxes.
        sampling: Samples per pixel and side, which are averaged, as in RoIAlign.
    """
    if not len(rboxes):
        return images.new_zeros(0, images.shape[1], size, size)
    height, width = images.shape[-2:]
    cx, cy, w, h, theta = rboxes.to(images.dtype).unbind(1)
    cos, sin = theta.cos(), theta.sin()
    # from [-1, 1] in the crop to [-1, 1] in the image; both are bordered by the outer edges of pixels
    w, h = w * enlarge, h * enlarge
    matrix = torch.stack(
        [
            torch.stack([w * cos / width, -h * sin / width, 2 * cx / width - 1], dim=1),
            torch.stack([w * sin / height, h * cos / height, 2 * cy / height - 1], dim=1),
        ],
        dim=1,
    )  # (M, 2, 3)
    fine = size * sampling
    grid = F.affine_grid(matrix, [len(rboxes), images.shape[1], fine, fine], align_corners=False)
    crops = F.grid_sample(images.expand(len(rboxes), -1, -1, -1), grid, padding_mode="zeros", align_corners=False)
    return F.avg_pool2d(crops, sampling) if sampling > 1 else crops


class CropEncoder(nn.Module):
    """A frozen timm model that embeds rotated boxes of an image: the average of the last feature map of each crop.

    Args:
        name: timm model name.
        pretrained: True for timm's weights, or the path of a file.
        size: Side of the crops.
        enlarge: Factor of the sides of the boxes.
        batch_size: Number of crops at a time.

    Attributes:
        channels: Length of the embeddings.
    """

    def __init__(
        self, *, name: str, pretrained: bool | str = True, size: int = 224, enlarge: float = 1.5, batch_size: int = 32
    ) -> None:
        super().__init__()
        if size < 8 or batch_size < 1 or enlarge <= 0:
            raise ConfigError(
                f"CropEncoder(size={size}, batch_size={batch_size}, enlarge={enlarge}): expected size >= 8, "
                "batch_size >= 1 and enlarge > 0"
            )
        self.encoder = TimmEncoder(name=name, pretrained=pretrained, out_indices=(-1,), frozen_stages=-1).eval()
        self.encoder.to(memory_format=torch.channels_last)  # a third faster on CPUs
        self.size, self.enlarge, self.batch_size = size, enlarge, batch_size
        self.channels = self.encoder.channels[0]
        self.register_buffer("mean", torch.tensor(self.encoder.mean), persistent=False)
        self.register_buffer("std", torch.tensor(self.encoder.std), persistent=False)

    @torch.inference_mode()
    def forward(self, image: np.ndarray, rboxes: np.ndarray) -> Tensor:
        """Return the embeddings (M, channels) float32, on the CPU, of boxes (M, 5) in an image (H, W, 3) uint8."""
        if not len(rboxes):
            return torch.zeros(0, self.channels)
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.mean.device)
        pixels = normalize(pixels.permute(2, 0, 1)[None].float() / 255, self.mean, self.std)  # (1, 3, H, W)
        boxes = torch.from_numpy(np.asarray(rboxes, np.float32)).to(self.mean.device)
        found = []
        for part in boxes.split(self.batch_size):
            crops = rotated_crops(pixels, part, size=self.size, enlarge=self.enlarge)
            found.append(self.encoder(crops.contiguous(memory_format=torch.channels_last))[-1].mean(dim=(2, 3)))
        return torch.cat(found).float().cpu()
