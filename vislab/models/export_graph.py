"""Models in the form in which they are exported: one tensor in, named tensors out."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.models.preprocessor import ImagePreprocessor

PIXELS = "RGB, float32, 0 to 255, (batch, channels, height, width); scaled and normalized in the graph"


class ExportGraph(nn.Module):
    """Module from one tensor to a tuple of tensors, with what a user of the file has to know.

    Args:
        parts: The modules of the model that `run` uses.
        run: Function from the input, for images after normalization, to outputs by name.
        task: Name of the task.
        outputs: Name and meaning of each output of `run` that the graph has, in order.
        preprocessor: The model's data preprocessor, whose normalization becomes part of the graph. None: the input is
            not an image.
        input_name, about_input: Name and meaning of the input. Default: images.
        channels: Channels of an input that is not an image.
        stride: Pixels per value of the input, along both sides: 1 for images.
        divisor: Height and width of the input are multiples of this number.
        img_size: The only (height, width) that the model takes. None: it has another size in each file.
        any_size: Whether one file can take several sizes.

    Raises:
        ConfigError: The preprocessor is none that the graph can contain.
    """

    def __init__(
        self,
        parts: Sequence[nn.Module],
        run: Callable[[Tensor], Mapping[str, Tensor]],
        *,
        task: str,
        outputs: Mapping[str, str],
        preprocessor: nn.Module | None = None,
        input_name: str = "images",
        about_input: str = PIXELS,
        channels: int = 3,
        stride: int = 1,
        divisor: int = 1,
        img_size: tuple[int, int] | None = None,
        any_size: bool = False,
    ) -> None:
        super().__init__()
        if preprocessor is not None and not isinstance(preprocessor, ImagePreprocessor):
            raise ConfigError(
                f"export puts the normalization of an ImagePreprocessor into the graph, but the model has a "
                f"{type(preprocessor).__name__}"
            )
        self.parts = nn.ModuleList(parts)
        self.run, self.task, self.outputs = run, task, dict(outputs)
        self.input_name, self.about_input = input_name, about_input
        self.channels = channels if preprocessor is None or preprocessor.gain is None else len(preprocessor.gain)
        self.stride = stride
        self.divisor = divisor if preprocessor is None else max(divisor, preprocessor.size_divisor)
        self.img_size, self.any_size = img_size, any_size
        self.is_image = preprocessor is not None
        self.statistics = None if preprocessor is None else preprocessor.statistics
        self.register_buffer("gain", None if preprocessor is None else preprocessor.gain, persistent=False)
        self.register_buffer("shift", None if preprocessor is None else preprocessor.shift, persistent=False)

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, in the order of `outputs`, for inputs (B, channels, H / stride, W / stride)."""
        if self.gain is not None:
            inputs = inputs * self.gain + self.shift
        elif self.is_image:
            inputs = inputs / 255
        found = self.run(inputs)
        return tuple(found[name] for name in self.outputs)

    def example(self, batch: int, size: tuple[int, int], seed: int) -> Tensor:
        """Return a random input for frames of `size` (height, width), the same one for a seed."""
        generator = torch.Generator().manual_seed(seed)
        shape = (batch, self.channels, size[0] // self.stride, size[1] // self.stride)
        if not self.is_image:
            return torch.randn(shape, generator=generator)
        coarse = torch.rand((batch, self.channels, 5, 7), generator=generator)  # light and dark areas
        smooth = nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")
        return (255 * smooth + 20 * torch.randn(shape, generator=generator)).round().clamp(0, 255)
