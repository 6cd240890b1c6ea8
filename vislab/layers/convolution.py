"""1x1 convolutions as matrix products."""

from torch import Tensor, nn
from torch.nn import functional as F


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to (B, C, H, W) as a matrix product, which is faster on CPUs; channels-last result."""
    return F.linear(x.permute(0, 2, 3, 1), conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)
