"""HNeRV (Chen et al., CVPR 2023, section 3.1): an encoder to small embeddings, and a decoder that stores the video.

Architecture only: ConvNeXt block, encoder, decoder, model; codec/ compresses the weights. Tensors are
channels-last, which is faster for oneDNN's convolutions and the pixel shuffle.
"""

from collections.abc import Sequence
from math import prod

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.losses import L2Loss
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.models.export_graph import ExportGraph
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.hnerv.size import (
    decoder_parameters,
    embedding_size,
    embedding_values,
    solve_width,
    stage_kernels,
    stage_widths,
)


class ConvNeXtBlock(nn.Module):
    """7x7 depthwise convolution, norm, 4x MLP, layer scale, residual; (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, *, dim: int, expansion: int = 4, layer_scale: float = 1e-6):
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim))
        self.scale = nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        y = self.scale * self.mlp(self.norm(y))
        return x + y.permute(0, 3, 1, 2)


class HNeRVEncoder(nn.Sequential):
    """Encoder from frames (B, 3, H, W) in [0, 1] to embeddings (B, d, H / S, W / S), S the product of the strides.

    Each stage is a patch convolution followed by a ConvNeXt block.

    Args:
        strides: Kernel size and stride of the patch convolution of each stage.
        width: Channels of all stages but the last.
        embed_dim: Channels of the last stage, d.
    """

    def __init__(self, *, strides: Sequence[int], width: int = 64, embed_dim: int = 16):
        layers: list[nn.Module] = []
        channels = 3
        for i, stride in enumerate(strides):
            out = embed_dim if i == len(strides) - 1 else width
            patches = nn.Conv2d(channels, out, stride, stride)
            # the first stage normalizes its output, the others their input
            layers += [patches, LayerNorm2d(out, eps=1e-6)] if i == 0 else [LayerNorm2d(channels, eps=1e-6), patches]
            layers.append(ConvNeXtBlock(dim=out))
            channels = out
        super().__init__(*layers)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)


class OverwritingGELU(nn.GELU):
    """GELU that writes over its input where no gradient is recorded: fresh memory for a frame costs more than GELU."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if torch.is_grad_enabled() else torch.ops.aten.gelu_(x)


class HNeRVDecoder(nn.Module):
    """Decoder from embeddings (B, d, H / S, W / S) to frames (B, 3, H, W) in [0, 1].

    A 1x1 convolution, then convolution, pixel shuffle and GELU per stage, then a 3x3 convolution to RGB.

    Args:
        strides: Upsampling of each stage.
        widths: Input channels of each stage and output channels of the last one; see `stage_widths`.
        kernels: Kernel size of each stage; see `stage_kernels`.
        embed_dim: Channels of an embedding, d.
    """

    def __init__(self, *, strides: Sequence[int], widths: Sequence[int], kernels: Sequence[int], embed_dim: int = 16):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(embed_dim, widths[0], 1), nn.GELU())
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[i], widths[i + 1] * stride**2, kernels[i], padding=kernels[i] // 2),
                nn.PixelShuffle(stride),
                OverwritingGELU(),
            )
            for i, stride in enumerate(strides)
        )
        self.to_rgb = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, embedding: Tensor) -> Tensor:
        x = self.stem(embedding)
        for stage in self.stages:
            x = stage(x)  # (B, widths[i + 1], h * stride, w * stride)
        return torch.tanh(self.to_rgb(x)) * 0.5 + 0.5


def visible_pixels(frames: Tensor, side: int) -> Tensor:
    """Return a mask (H, W) of frames (B, 3, H, W): 0 in five boxes of the given side, 1 elsewhere.

    The boxes lie around the center and the centers of the four quarters.

    Raises:
        ConfigError: The boxes overlap or leave the frame.
    """
    height, width = frames.shape[-2:]
    if 4 * side > min(height, width):
        raise ConfigError(
            f"hidden_boxes={side} is too large for frames of {height}x{width}: boxes would overlap; use at most "
            f"{min(height, width) // 4}"
        )
    mask = frames.new_ones(height, width)
    for y, x in ((2, 2), (1, 1), (1, 3), (3, 1), (3, 3)):  # quarters of the height and the width
        top, left = y * height // 4 - side // 2, x * width // 4 - side // 2
        mask[top : top + side, left : left + side] = 0
    return mask


@MODELS.register_module()
class HNeRV(VisionModel):
    """HNeRV model of one video: training encodes the video, the decoder decodes single frames.

    Set either `decoder_width` or `target_size`. The latter selects the largest width whose decoder has at most that
    many parameters, including the embeddings of the video if `num_frames` and `frame_size` are set.

    Args:
        strides: Upsampling of the decoder stages and downsampling of the encoder stages; the frame size must be
            divisible by their product.
        embed_dim: Channels of an embedding, d.
        encoder_width: Channels of the encoder.
        decoder_width: Channels after the first convolution of the decoder, c2.
        target_size: Number of parameters instead of decoder_width, e.g. 0.3e6.
        num_frames: Number of frames of the video, to include the embeddings in target_size.
        frame_size: (height, width) of the frames, to include the embeddings in target_size.
        reduction: Factor by which the channels decrease per decoder stage, r.
        min_width: Minimum number of channels of a decoder stage.
        kernel: Smallest and largest kernel size of the decoder stages.
        hidden_boxes: Side in pixels of five boxes that the encoder and the loss do not see (inpainting);
            see `visible_pixels`.
        loss: Module or config, called as loss(prediction, target). Default: L2Loss().
        data_preprocessor: Module or config that returns float frames (B, 3, H, W) in [0, 1].

    Raises:
        ConfigError: Both or neither of decoder_width and target_size, or a target_size too small for any decoder.
    """

    compiled_parts = ("encoder", "decoder")

    def __init__(
        self,
        *,
        strides: Sequence[int],
        embed_dim: int = 16,
        encoder_width: int = 64,
        decoder_width: int | None = None,
        target_size: float | None = None,
        num_frames: int | None = None,
        frame_size: tuple[int, int] | None = None,
        reduction: float = 1.2,
        min_width: int = 12,
        kernel: tuple[int, int] = (1, 5),
        hidden_boxes: int | None = None,
        loss: dict | nn.Module | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if (decoder_width is None) == (target_size is None):
            raise ConfigError(
                f"HNeRV got decoder_width={decoder_width} and target_size={target_size}; set exactly one of them."
            )
        if (num_frames is None) != (frame_size is None):
            raise ConfigError(
                f"HNeRV got num_frames={num_frames} and frame_size={frame_size}; set both, so that "
                "target_size includes the embeddings, or neither."
            )
        shape = {
            "strides": tuple(strides),
            "embed_dim": embed_dim,
            "reduction": reduction,
            "min_width": min_width,
            "kernel": tuple(kernel),
        }
        if decoder_width is None:
            embeddings = 0
            if num_frames is not None:
                embeddings = embedding_values(
                    num_frames=num_frames, frame_size=frame_size, strides=strides, embed_dim=embed_dim
                )
            decoder_width = solve_width(decoder_size=target_size - embeddings, **shape)
        if hidden_boxes is not None and hidden_boxes < 1:
            raise ConfigError(f"hidden_boxes={hidden_boxes} should be a side in pixels, or None for no boxes.")
        self.hidden_boxes = hidden_boxes
        self.strides = shape["strides"]
        self.embed_dim = embed_dim
        self.decoder_width = decoder_width
        self.decoder_parameters = decoder_parameters(width=decoder_width, **shape)
        self.encoder = HNeRVEncoder(strides=strides, width=encoder_width, embed_dim=embed_dim)
        self.decoder = HNeRVDecoder(
            strides=strides,
            widths=stage_widths(decoder_width, len(strides), reduction, min_width),
            kernels=stage_kernels(len(strides), kernel),
            embed_dim=embed_dim,
        )
        self.loss = build_part(loss, L2Loss)
        self.to(memory_format=torch.channels_last)

    def encode(self, frames: Tensor) -> Tensor:
        """Encode frames (B, 3, H, W) in [0, 1] to embeddings (B, d, H / S, W / S).

        Raises:
            ConfigError: The frame size is not divisible by the strides.
        """
        embedding_size(tuple(frames.shape[-2:]), self.strides)
        if self.hidden_boxes:
            frames = frames * visible_pixels(frames, self.hidden_boxes)
        return self.encoder(frames.contiguous(memory_format=torch.channels_last))

    def decode(self, embedding: Tensor) -> Tensor:
        """Decode embeddings (B, d, h, w) to frames (B, 3, h * S, w * S) in [0, 1], S the product of the strides."""
        return self.decoder(embedding.contiguous(memory_format=torch.channels_last))

    def forward_tensor(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> dict[str, Tensor]:
        """Return "embedding" (B, d, h, w) and "image" (B, 3, H, W) of frames (B, 3, H, W) in [0, 1]."""
        embedding = self.encode(inputs)
        return {"embedding": embedding, "image": self.decode(embedding)}

    def forward_loss(self, inputs: Tensor, data_samples: list[DataSample] | None = None) -> dict[str, Tensor]:
        """Return {"loss": scalar} with the frames as targets; hidden boxes are left out of both."""
        image = self.forward_tensor(inputs)["image"]
        if self.hidden_boxes:
            visible = visible_pixels(inputs, self.hidden_boxes)
            image, inputs = image * visible, inputs * visible
        return {"loss": self.loss(image, inputs)}

    def forward_predict(self, inputs: Tensor, data_samples: list[DataSample]) -> list[DataSample]:
        """Return one sample per frame with `pred_image` (3, H, W), float32 in [0, 1]."""
        images = require_finite(self.forward_tensor(inputs)["image"].float(), "pixels")
        for sample, image in zip(data_samples, images, strict=True):
            sample.pred_image = image
        return data_samples

    def export_graph(self) -> ExportGraph:
        """Return the decoder: frames of embeddings, which `encode` computes."""
        size = f"height / {self.stride}, width / {self.stride}"
        return ExportGraph(
            [self.decoder],
            lambda embedding: {"image": self.decode(embedding)},
            task="video frames",
            outputs={"image": "(batch, 3, height, width), RGB in 0 to 1"},
            input_name="embedding",
            about_input=f"embeddings of frames, (batch, {self.embed_dim}, {size}), float32",
            channels=self.embed_dim,
            stride=self.stride,
            any_size=True,
        )

    @property
    def stride(self) -> int:
        """Downsampling factor from frames to embeddings, S."""
        return prod(self.strides)
