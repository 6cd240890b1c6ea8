"""Description of a decoder network as integers, from which any implementation can build it, and its hash."""

from dataclasses import dataclass
from hashlib import sha256
from math import prod

from vislab.errors import DataError
from vislab.systems.hnerv.model import HNeRVDecoder

MAX_STAGES = 8
MAX_STRIDE = 16
MAX_WIDTH = 4096
MAX_KERNEL = 15
MAX_PARAMETERS = 1 << 25
MAX_OUTPUT = 1 << 28  # values of a layer for one frame
"""Limits of the format, checked before anything is allocated."""


@dataclass(frozen=True)
class DecoderSpec:
    """Decoder network: 1x1 convolution and GELU; convolution, pixel shuffle and GELU per stage; 3x3 convolution to RGB.

    Args:
        embed_dim: Channels of an embedding, d.
        strides: Upsampling of each stage.
        widths: Input channels of each stage and output channels of the last one, stages + 1 numbers.
        kernels: Kernel size of each stage, odd.

    Raises:
        DataError: A number is outside the limits of the format.
    """

    embed_dim: int
    strides: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...]

    def __post_init__(self) -> None:
        stages = len(self.strides)
        valid = (
            1 <= stages <= MAX_STAGES
            and len(self.widths) == stages + 1
            and len(self.kernels) == stages
            and all(1 <= stride <= MAX_STRIDE for stride in self.strides)
            and all(1 <= width <= MAX_WIDTH for width in (self.embed_dim, *self.widths))
            and all(1 <= kernel <= MAX_KERNEL and kernel % 2 for kernel in self.kernels)
            and self.parameters <= MAX_PARAMETERS
        )
        if not valid:
            raise DataError(
                f"{self} is outside the limits of the format: up to {MAX_STAGES} stages of strides up to {MAX_STRIDE}, "
                f"{MAX_WIDTH} channels, odd kernels up to {MAX_KERNEL}, {MAX_PARAMETERS} weights."
            )

    @classmethod
    def of(cls, decoder: HNeRVDecoder) -> "DecoderSpec":
        """Return the description of a decoder."""
        convolutions = [stage[0] for stage in decoder.stages]
        return cls(
            embed_dim=decoder.stem[0].in_channels,
            strides=tuple(stage[1].upscale_factor for stage in decoder.stages),
            widths=(*(conv.in_channels for conv in convolutions), decoder.to_rgb.in_channels),
            kernels=tuple(conv.kernel_size[0] for conv in convolutions),
        )

    def network(self) -> HNeRVDecoder:
        """Return a decoder with random weights."""
        return HNeRVDecoder(strides=self.strides, widths=self.widths, kernels=self.kernels, embed_dim=self.embed_dim)

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the weights by their name in the decoder, in the order of the file."""
        shapes = {"stem.0.weight": (self.widths[0], self.embed_dim, 1, 1), "stem.0.bias": (self.widths[0],)}
        for i, (stride, kernel) in enumerate(zip(self.strides, self.kernels, strict=True)):
            outputs = self.widths[i + 1] * stride**2
            shapes[f"stages.{i}.0.weight"] = (outputs, self.widths[i], kernel, kernel)
            shapes[f"stages.{i}.0.bias"] = (outputs,)
        return {**shapes, "to_rgb.weight": (3, self.widths[-1], 3, 3), "to_rgb.bias": (3,)}

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(prod(shape) for shape in self.weight_shapes().values())

    @property
    def scale(self) -> int:
        """Pixels of a frame per value of an embedding along each side, S."""
        return prod(self.strides)

    def embedding_size(self, frame_size: tuple[int, int]) -> tuple[int, int]:
        """Return the embedding's height and width for frames of (height, width), padded to multiples of `scale`."""
        return -(-frame_size[0] // self.scale), -(-frame_size[1] // self.scale)

    def largest_output(self, embedding: tuple[int, int]) -> int:
        """Return the most values that a layer puts out for an embedding of (h, w)."""
        pixels = embedding[0] * embedding[1]
        most = pixels * self.widths[0]
        for width, stride in zip(self.widths[1:], self.strides, strict=True):
            pixels *= stride**2
            most = max(most, pixels * width)
        return max(most, 3 * pixels)

    def text(self) -> str:
        """Return the canonical description, whose hash is stored in the file."""
        numbers = {
            "embed_dim": (self.embed_dim,), "strides": self.strides, "widths": self.widths, "kernels": self.kernels,
        }  # fmt: skip
        lines = ["hnerv-decoder 1", *(f"{name} {' '.join(map(str, values))}" for name, values in numbers.items())]
        return "\n".join([*lines, "activation gelu-erf", "output tanh/2+1/2", ""])

    def digest(self) -> bytes:
        """Return the SHA-256 of `text`."""
        return sha256(self.text().encode()).digest()
