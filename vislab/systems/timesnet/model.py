"""timesNet: an encoder's deepest map, multiplied with the image, enters a second pre-trained model, the decoder.

    images -> encoder -> deepest map -> Re-Shape -> gate (B, 3, H, W)
    gate * normalized images -> decoder (a whole timm model, stem untouched) -> its stages
    stages -> Re-Shape to the finest -> concatenated -> Re-Shape to full resolution

The decoder looks at an image again and is used in its native direction; it is the order of decoding that is reversed.
Before training the gate is 1, so the decoder starts from the very input distribution it was pre-trained on.
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.layers.channel_norm import ChannelNorm
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.ops.images import normalize, pad_to_multiple
from vislab.registry import MODELS
from vislab.systems.timesnet.reshape import GateReShape, Kind, MapHead, ReShape

MIXES = ("multiply", "add", "concat", "feature", "image")


@MODELS.register_module()
class TimesNet(nn.Module):
    """Images (B, 3, H, W) in [0, 1], any size -> maps (B, out_channels, H, W), unbounded.

    Each of the two timm models gets the image normalized with its own mean and std. Inside, images are padded at the
    bottom and right to what each model needs; the padding is cut off the output.

    Args:
        encoder: TimmEncoder or its arguments; a plain vision transformer is welcome. Only its last map is used, unless
            `encoder_skips`. Not built for mix="image".
        decoder: TimmEncoder or its arguments. Random or pre-trained: its `pretrained`; frozen: its `frozen_stages=-1`.
            A plain vision transformer must have a patch size divisible by 4.
        out_channels: 1 for depth, the number of classes for segmentation.
        mix: what enters the decoder: "multiply" gate x image; "add" gate + image (the gate then starts at 0); "concat"
            both through a 1x1 convolution that starts as their sum; "feature" the re-shaped map alone; "image" the
            image alone, one network without an encoder.
        pyramid: which stages of the decoder form the output: "all", only the "finest", or only the "coarsest".
        pyramid_width: channels that each coarser stage keeps at the finest stage's size; None: what its own channels,
            divided by the factor squared, come to. Narrow models need more: EfficientNet-Lite0's deepest stage would
            keep 5.
        encoder_skips: add the encoder's stages to the pyramid, as ordinary decoders do.
        reshape: kind of all Re-Shape modules but the last: shuffle | transposed | bilinear.
        gate_steps: 1 or 2 steps from the deepest map to the gate, for reshape="shuffle".
        gate_width: channels between the two steps.
        head: how the last Re-Shape reaches full resolution: shuffle | bilinear (less memory with many classes).
        head_width: its hidden channels.

    Raises:
        ConfigError: an unknown option, or strides that cannot be brought together.
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
        if mix not in MIXES:
            raise ConfigError(f"TimesNet: mix={mix!r} is not one of {', '.join(MIXES)}")
        if pyramid not in ("all", "finest", "coarsest"):
            raise ConfigError(f"TimesNet: pyramid={pyramid!r} is not one of all, finest, coarsest")
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
                # brought to the scale of the re-shaped stages, which it would drown otherwise
                kept, module = channels, ChannelNorm(channels, eps=1e-6)
            else:
                kept = pyramid_width or -(-channels // factor**2)  # the shuffle divides the channels, rounded up
                module = ReShape(in_channels=channels, out_channels=kept, factor=factor, kind=reshape)
            self.to_finest.append(module)
            width += kept
        self.reshape_out = MapHead(
            in_channels=width, out_channels=out_channels, factor=target, width=head_width, kind=head
        )

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] -> (B, out_channels, H, W)."""
        height, width = images.shape[-2:]
        mixed, skips = self._mixed(images)
        maps = self.decoder(pad_to_multiple(mixed, self.decoder.strides[-1]))
        maps = [maps[i] for i in self.used] + skips
        rows, columns = -(-height // self.stride), -(-width // self.stride)
        fine = [reshape(m)[..., :rows, :columns] for reshape, m in zip(self.to_finest, maps, strict=True)]
        output = self.reshape_out(torch.cat(fine, dim=1))  # at rows x columns of the finest stage
        return output[..., :height, :width]

    def mixed(self, images: Tensor) -> Tensor:
        """What enters the decoder for (B, 3, H, W) images in [0, 1], before padding: (B, 3, H, W)."""
        return self._mixed(images)[0]

    def gate(self, images: Tensor) -> Tensor:
        """The re-shaped deepest map of the encoder for (B, 3, H, W) images in [0, 1]: (B, 3, H, W)."""
        return self._gate(images)[0]

    def new_parameters(self) -> int:
        """Number of parameters outside the two timm models: the Re-Shape modules."""
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
        raise ConfigError(f"TimesNet.{which}: normalize=True would normalize twice: TimesNet does it with mean and std")
    return model


def _register_stats(owner: nn.Module, name: str, model: nn.Module) -> None:
    # not persistent: they belong to the timm model's name, and do not travel in checkpoints
    owner.register_buffer(f"{name}_mean", torch.tensor(model.mean), persistent=False)
    owner.register_buffer(f"{name}_std", torch.tensor(model.std), persistent=False)


def _factor(stride: int, target: int, which: str) -> int:
    if stride % target:
        raise ConfigError(
            f"TimesNet.{which}: a map of stride {stride} cannot be re-shaped to stride {target}, which does not divide "
            f"it; with a plain transformer choose the patch size: {which}.model_args.patch_size=16"
        )
    return stride // target
