"""NeRV (Chen et al., NeurIPS 2021) as a baseline: the number of a frame, not its content, is the input of the decoder.

The form that the HNeRV paper compares with: sine and cosine of 80 frequencies, one layer to a small map, then stages as
in HNeRV with 3x3 kernels and halved widths.
"""

from collections.abc import Sequence
from math import pi, prod

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError, DataError
from vislab.losses import L2Loss
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.hnerv.model import HNeRVDecoder
from vislab.systems.hnerv.size import decoder_parameters, stage_kernels, stage_widths


class FramePosition(nn.Module):
    """Encode numbers (B,) of T frames as (B, 2 levels): the sines, then the cosines, of base^i * pi * t / T."""

    def __init__(self, *, num_frames: int, base: float = 1.25, levels: int = 80):
        super().__init__()
        self.num_frames = num_frames
        self.register_buffer("frequencies", base ** torch.arange(levels, dtype=torch.float64) * pi, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        # in float64: base^79 is 4.5e7, of which float32 has no fraction left
        phase = numbers.to(self.frequencies)[:, None] / self.num_frames * self.frequencies  # (B, levels)
        return torch.cat([phase.sin(), phase.cos()], dim=1).float()


@MODELS.register_module()
class NeRV(VisionModel):
    """NeRV model of one video. Samples need "frame_index", from 0 to num_frames - 1.

    Set either `decoder_width` or `target_size`, the number of parameters that the largest width has at most.

    Args:
        strides: Upsampling of the stages.
        frame_size: (height, width) of the frames.
        num_frames: Number of frames of the video.
        decoder_width: Channels of the first map.
        target_size: Number of parameters instead of decoder_width.
        base: Ratio of successive frequencies.
        levels: Number of frequencies.
        reduction: Factor by which the channels decrease per stage.
        min_width: Minimum number of channels of a stage.
        kernel: Smallest and largest kernel size of the stages.
        loss: Module or config, called as loss(prediction, target). Default: L2Loss().
        data_preprocessor: Module or config that returns float frames (B, 3, H, W) in [0, 1].

    Raises:
        ConfigError: Both or neither of decoder_width and target_size, a target_size too small for any decoder, or a
            frame size that the strides do not divide.
    """

    compiled_parts = ("decoder",)

    def __init__(
        self,
        *,
        strides: Sequence[int],
        frame_size: tuple[int, int],
        num_frames: int,
        decoder_width: int | None = None,
        target_size: float | None = None,
        base: float = 1.25,
        levels: int = 80,
        reduction: float = 2.0,
        min_width: int = 12,
        kernel: tuple[int, int] = (3, 3),
        loss: dict | nn.Module | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if (decoder_width is None) == (target_size is None):
            raise ConfigError(
                f"NeRV got decoder_width={decoder_width} and target_size={target_size}; set exactly one of them."
            )
        scale = prod(strides)
        if frame_size[0] % scale or frame_size[1] % scale:
            raise ConfigError(
                f"frames of {frame_size[0]}x{frame_size[1]} cannot be divided by the strides {tuple(strides)} (product "
                f"{scale}). Crop or resize them to multiples of {scale}, or choose other strides."
            )
        self.grid = (frame_size[0] // scale, frame_size[1] // scale)
        self.num_frames = num_frames
        shape = {"strides": tuple(strides), "reduction": reduction, "min_width": min_width, "kernel": tuple(kernel)}
        inputs = 2 * levels

        def size(width: int) -> int:
            stages = decoder_parameters(width=width, embed_dim=0, **shape) - width
            return stages + (inputs + 1) * width * prod(self.grid)

        if decoder_width is None:
            decoder_width = _largest_width(size, target_size)
        self.decoder_width, self.decoder_parameters = decoder_width, size(decoder_width)
        self.position = FramePosition(num_frames=num_frames, base=base, levels=levels)
        self.decoder = HNeRVDecoder(
            strides=strides,
            widths=stage_widths(decoder_width, len(strides), reduction, min_width),
            kernels=stage_kernels(len(strides), kernel),
        )
        self.decoder.stem = nn.Sequential(
            nn.Conv2d(inputs, decoder_width * prod(self.grid), 1),
            nn.Flatten(),
            nn.Unflatten(1, (decoder_width, *self.grid)),
            nn.GELU(),
        )
        self.loss = build_part(loss, L2Loss)
        self.to(memory_format=torch.channels_last)

    def decode(self, numbers: Tensor) -> Tensor:
        """Decode frames by number (B,); returns (B, 3, H, W) in [0, 1]."""
        return self.decoder(self.position(numbers)[:, :, None, None])  # (B, 2 levels, 1, 1)

    def forward_tensor(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None) -> dict[str, Tensor]:
        """Return "image" (B, 3, H, W) of the frames whose numbers the samples have."""
        numbers = [sample.metainfo.get("frame_index") for sample in data_samples or ()]
        if len(numbers) != len(inputs) or not all(isinstance(n, int) and 0 <= n < self.num_frames for n in numbers):
            raise DataError(
                f"NeRV decodes frames by number and got frame_index={numbers} for {len(inputs)} frames; expected 0 to "
                f"{self.num_frames - 1}: keep frame_index in meta_keys of PackInputs, and num_frames of the video"
            )
        return {"image": self.decode(torch.tensor(numbers).to(inputs.device, non_blocking=True))}

    def forward_loss(self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None) -> dict[str, Tensor]:
        """Return {"loss": scalar} with the frames as targets."""
        return {"loss": self.loss(self.forward_tensor(inputs, data_samples)["image"], inputs)}

    def forward_predict(self, inputs: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        """Return one sample per frame with `pred_image` (3, H, W), float32 in [0, 1]."""
        images = require_finite(self.forward_tensor(inputs, data_samples)["image"].float(), "pixels")
        for sample, image in zip(data_samples, images, strict=True):
            sample.pred_image = image
        return data_samples


def _largest_width(size, target: float) -> int:
    if size(1) > target:
        raise ConfigError(
            f"a NeRV decoder has at least {size(1)} parameters, but target_size is {target:.0f}. Increase it, or lower "
            "min_width, kernel or levels."
        )
    width = 1
    while size(width + 1) <= target:
        width += 1
    return width
