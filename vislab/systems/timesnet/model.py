"""timesNet: the last feature map of an encoder, multiplied with the image, is the input of a pre-trained decoder.

    images -> encoder -> last map -> Re-Shape -> gate (B, 3, H, W)
    gate * normalized images -> decoder (a whole timm model, stem untouched) -> its stages
    stages -> Re-Shape to the finest -> concatenated -> Re-Shape to full resolution

The decoder processes an image in its usual direction, from fine to coarse. The gate is initialized to 1, so that the
decoder starts with the input distribution of its pre-training.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from vislab.errors import ConfigError, check_choice
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.ops.images import normalize, pad_to_multiple
from vislab.registry import MODELS
from vislab.systems.timesnet.reshape import GateReShape, Kind, MapHead, ReShape

MIXES = ("multiply", "add", "concat", "feature", "image")


@MODELS.register_module()
class TimesNet(nn.Module):
    """Dense network from images (B, 3, H, W) in [0, 1] of any size to maps (B, out_channels, H, W), unbounded.

    The image is normalized with mean and std of each of the two timm models, and padded at the bottom and right to
    their multiples; the output has the size of the image.

    Args:
        encoder: TimmEncoder or its arguments; may be a plain vision transformer. Only its last map is used unless
            `encoder_skips` is set. Not built for mix="image".
        decoder: TimmEncoder or its arguments. A plain vision transformer must have a patch size divisible by 4.
        out_channels: 1 for depth, the number of classes for segmentation.
        mix: Input of the decoder: "multiply" for gate * image; "add" for gate + image (with the gate initialized to 0);
            "concat" for both through a 1x1 convolution initialized to their sum; "feature" for the re-shaped map only;
            "image" for the image only, without an encoder.
        pyramid: Decoder stages used for the output: "all", "finest" or "coarsest".
        pyramid_width: Channels of each coarser stage after upsampling. Default: its channels divided by the square of
            the upsampling factor, which is too few for narrow models (5 for the last stage of EfficientNet-Lite0).
        encoder_skips: Add the stages of the encoder to the pyramid.
        reshape: Upsampling of all Re-Shape modules but the last: "shuffle", "transposed" or "bilinear".
        gate_steps: Number of upsampling steps to the gate, 1 or 2, for reshape="shuffle".
        gate_width: Channels between the two steps.
        head: Upsampling of the last Re-Shape module: "shuffle", or "bilinear" (less memory with many classes).
        head_width: Hidden channels of the last Re-Shape module.

    Raises:
        ConfigError: Unknown option, or incompatible strides.
    """

    def __init__(
        self,
        *,
        encoder: dict | nn.Module | None,
        decoder: dict | nn.Module,
        out_channels: int = 1,
        mix: Literal["multiply", "add", "concat", "feature", "image"] = "multiply",
        pyramid: Literal["all", "finest", "coarsest"] = "all",
        pyramid_width: int | None = None,
        encoder_skips: bool = False,
        reshape: Kind = "shuffle",
        gate_steps: Literal[1, 2] = 2,
        gate_width: int = 192,
        head: Literal["shuffle", "bilinear"] = "shuffle",
        head_width: int = 64,
    ):
        super().__init__()
        check_choice("TimesNet: mix", mix, MIXES)
        check_choice("TimesNet: pyramid", pyramid, ("all", "finest", "coarsest"))
        if encoder is None and mix != "image":
            raise ConfigError(f"TimesNet: mix={mix!r} needs an encoder; only mix='image' goes without one")
        if mix == "image" and encoder_skips:
            raise ConfigError("TimesNet: encoder_skips=True needs an encoder, mix='image' has none")
        self.mix, self.out_channels, self.encoder_skips = mix, out_channels, encoder_skips
        self.decoder = _build(decoder, "decoder", {})
        _register_stats(self, "decoder", self.decoder)
        target = self.stride = min(4, self.decoder.strides[0])

        self.encoder = None
        if mix != "image":
            self.encoder = _build(encoder, "encoder", {} if encoder_skips else {"out_indices": (-1,)})
            _register_stats(self, "encoder", self.encoder)
            self.reshape_in = GateReShape(
                in_channels=self.encoder.channels[-1],
                stride=self.encoder.strides[-1],
                steps=gate_steps,
                width=gate_width,
                kind=reshape,
                start=1.0 if mix == "multiply" else 0.0,
                noise=1.0 if mix == "feature" else 0.01,
            )
        if mix == "concat":
            self.mixer = nn.Conv2d(6, 3, 1)
            with torch.no_grad():
                self.mixer.weight.copy_(torch.eye(3).repeat(1, 2)[..., None, None])
                self.mixer.bias.zero_()

        count = len(self.decoder.strides)
        self.used = {"all": tuple(range(count)), "finest": (0,), "coarsest": (count - 1,)}[pyramid]
        sources = [(self.decoder.channels[i], self.decoder.strides[i], "decoder") for i in self.used]
        if encoder_skips:
            sources += [(c, s, "encoder") for c, s in zip(self.encoder.channels, self.encoder.strides, strict=True)]
        self.to_finest, width = nn.ModuleList(), 0
        for channels, stride, which in sources:
            factor = _factor(stride, target, which)
            if factor == 1:
                # normalized to the scale of the re-shaped stages, which it would dominate otherwise
                kept, module = channels, LayerNorm2d(channels, eps=1e-6)
            else:
                kept = pyramid_width or -(-channels // factor**2)  # channels after a pixel shuffle, rounded up
                module = ReShape(in_channels=channels, out_channels=kept, factor=factor, kind=reshape)
            self.to_finest.append(module)
            width += kept
        self.reshape_out = MapHead(
            in_channels=width, out_channels=out_channels, factor=target, width=head_width, kind=head
        )

    def forward(self, images: Tensor) -> Tensor:
        """Compute maps (B, out_channels, H, W) of images (B, 3, H, W) in [0, 1]."""
        height, width = images.shape[-2:]
        mixed, skips = self._mixed(images)
        maps = self.decoder(pad_to_multiple(mixed, self.decoder.strides[-1]))
        maps = [maps[i] for i in self.used] + skips
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        fine = [reshape(m)[..., :rows, :columns] for reshape, m in zip(self.to_finest, maps, strict=True)]
        output = self.reshape_out(torch.cat(fine, dim=1))  # from (B, width, rows, columns)
        return output[..., :height, :width]

    def mixed(self, images: Tensor) -> Tensor:
        """Return the decoder input (B, 3, H, W), before padding, of images (B, 3, H, W) in [0, 1]."""
        return self._mixed(images)[0]

    def gate(self, images: Tensor) -> Tensor:
        """Return the gate (B, 3, H, W), the re-shaped last map of the encoder, of images (B, 3, H, W) in [0, 1]."""
        return self._gate(images)[0]

    def new_parameters(self) -> int:
        """Return the number of parameters outside the two timm models."""
        old = {id(p) for m in (self.encoder, self.decoder) if m is not None for p in m.parameters()}
        return sum(p.numel() for p in self.parameters() if id(p) not in old)

    def _gate(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        height, width = images.shape[-2:]
        normed = normalize(images, self.encoder_mean, self.encoder_std)
        maps = self.encoder(pad_to_multiple(normed, self.encoder.strides[-1]))
        gate = self.reshape_in(maps[-1])  # (B, 3, padded H, padded W)
        return gate[..., :height, :width], maps if self.encoder_skips else []

    def _mixed(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        image = normalize(images, self.decoder_mean, self.decoder_std)
        if self.encoder is None:
            return image, []
        gate, skips = self._gate(images)
        if self.mix == "multiply":
            return image * gate, skips
        if self.mix == "add":
            return image + gate, skips
        if self.mix == "concat":
            return self.mixer(torch.cat([image, gate], dim=1)), skips
        return gate, skips


def _build(model: dict | nn.Module, which: str, defaults: Mapping[str, Any]) -> nn.Module:
    if isinstance(model, dict):
        model = MODELS.build({"type": TimmEncoder, **defaults, **model})
    if getattr(model, "normalize", False):
        raise ConfigError(
            f"TimesNet.{which}: normalize=True would normalize twice, since TimesNet normalizes its input"
        )
    return model


def _register_stats(owner: nn.Module, name: str, model: nn.Module) -> None:
    # not persistent: they are determined by the timm model and not saved in checkpoints
    owner.register_buffer(f"{name}_mean", torch.tensor(model.mean), persistent=False)
    owner.register_buffer(f"{name}_std", torch.tensor(model.std), persistent=False)


def _factor(stride: int, target: int, which: str) -> int:
    if stride % target:
        raise ConfigError(
            f"TimesNet.{which}: a map of stride {stride} cannot be re-shaped to stride {target}, which does not divide "
            f"it; for a plain transformer set the patch size: {which}.model_args.patch_size=16"
        )
    return stride // target
