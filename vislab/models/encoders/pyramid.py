"""Maps of strides 4, 8, 16 and 32 from a plain vision transformer, whose blocks all have the stride of its patches."""

import math

from timm.layers import LayerNorm2d
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.registry import MODELS

STRIDES = (4, 8, 16, 32)


@MODELS.register_module()
class PyramidEncoder(nn.Module):
    """Encoder that resizes four maps of a plain transformer to strides 4, 8, 16, 32, for heads of a pyramid.

    As published for BEiT, MAE and CAE: transposed convolutions enlarge by 2 each, with a norm and GELU between two of
    them, and max-pooling shrinks.

    Args:
        encoder: TimmEncoder or its arguments, with four outputs of one stride, a power of two up to 32.

    Attributes:
        channels, strides: Tuples with one entry per output.
        mean, std, normalize: Those of the encoder.

    Raises:
        ConfigError: The encoder has other outputs.
    """

    def __init__(self, *, encoder: dict | nn.Module) -> None:
        super().__init__()
        self.encoder = MODELS.build({"type": TimmEncoder, **encoder}) if isinstance(encoder, dict) else encoder
        given = tuple(self.encoder.strides)
        stride = given[0]
        if len(given) != 4 or set(given) != {stride} or stride not in (1, 2, 4, 8, 16, 32):
            raise ConfigError(
                f"PyramidEncoder: the encoder has maps of strides {given}, expected four of one stride, a power of two "
                "up to 32, as plain transformers have; hierarchical encoders need no PyramidEncoder"
            )
        self.strides, self.channels = STRIDES, tuple(self.encoder.channels)
        self.normalize = self.encoder.normalize
        self.resize = nn.ModuleList(
            _resize(channels, round(math.log2(stride / wanted)))
            for channels, wanted in zip(self.channels, STRIDES, strict=True)
        )

    @property
    def mean(self) -> tuple[float, ...]:
        return self.encoder.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.encoder.std

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return maps (B, channels[i], ~H/strides[i], ~W/strides[i]) of images (B, C, H, W)."""
        return [layer(x) for layer, x in zip(self.resize, self.encoder(images), strict=True)]


def _resize(channels: int, doublings: int) -> nn.Module:
    """Return a module that doubles the size of a map `doublings` times; negative: halves it."""
    if doublings <= 0:
        return nn.MaxPool2d(2**-doublings) if doublings else nn.Identity()
    layers: list[nn.Module] = []
    for step in range(doublings):
        layers += [LayerNorm2d(channels), nn.GELU()] if step else []
        layers.append(nn.ConvTranspose2d(channels, channels, 2, 2))
    return nn.Sequential(*layers)
