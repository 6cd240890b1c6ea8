"""1x1 convolutions as matrix products."""

from torch import Tensor, nn
from torch.nn import functional as F


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (B, C, H, W) as a matrix product, which is faster on CPUs; channels-last result."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)


class PatchConv2d(nn.Conv2d):
    """Convolution with stride = kernel size on patches that are cut out already, as a matrix product.

    Args:
        in_channels: Channels C of the image.
        out_channels: Channels of the output.
        patch_size: Side p of the patches.
    """

    def __init__(self, in_channels: int, out_channels: int, patch_size: int) -> None:
        super().__init__(in_channels, out_channels, patch_size, patch_size)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the outputs (B, n, out_channels) of patches (B, n, C * p * p)."""
        return F.linear(patches, self.weight.flatten(1), self.bias)
