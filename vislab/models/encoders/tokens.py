"""Tokens of any encoder: class token and patch tokens, for probes and for classification with an encoder.

Encoders are TimmEncoder, ViT, and timm models; find_encoder() finds that of a model.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError, did_you_mean
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.encoders.vit import ViT
from vislab.models.preprocessor import ImagePreprocessor

PLACES = ("encoder", "backbone", "network.encoder", "network")  # of the encoder in a model, in search order


class Tokens(NamedTuple):
    """Tokens of a batch: the class token (B, D), None for encoders without one, and patches (B, N, D), rows first."""

    cls: Tensor | None
    patches: Tensor

    def pool(self, feature: str) -> Tensor:
        """Return one vector (B, D) per image: the "class" token, or the "mean" of the patches.

        Raises:
            ConfigError: Another name, or an encoder without class token.
        """
        if feature == "mean":
            return self.patches.mean(dim=1)
        if feature != "class":
            raise ConfigError(f"feature={feature!r} is not one of 'class', 'mean'")
        if self.cls is None:
            raise ConfigError("feature='class': this encoder has no class token; use 'mean'")
        return self.cls

    def all(self) -> Tensor:
        """Return all tokens (B, N, D) or (B, 1 + N, D), the class token first."""
        return self.patches if self.cls is None else torch.cat([self.cls[:, None], self.patches], dim=1)


class RawPixels(nn.Module):
    """The image itself as an "encoder" with one token, the baseline of each probe: (B, C, H, W) -> (B, 1, C H W)."""

    num_prefix_tokens = 0

    def forward_features(self, images: Tensor) -> Tensor:
        """Return the pixels (B, 1, C H W) of images (B, C, H, W)."""
        return images.flatten(1)[:, None]


def find_encoder(model: nn.Module, part: str | None = None) -> tuple[str, nn.Module]:
    """Return the encoder of a model and its name.

    Args:
        model: A model of this package, or an encoder, whose name is "".
        part: Name of the encoder in the model, e.g. "network.decoder". Default: the first of PLACES that exists.

    Raises:
        ConfigError: The model has no such part, the part is not an encoder, or the model has none.
    """
    if part is not None:
        modules = dict(model.named_modules())
        if part not in modules:
            raise ConfigError(f"part={part!r}: {type(model).__name__} has no such part{did_you_mean(part, modules)}")
        if not is_encoder(modules[part]):
            raise ConfigError(
                f"part={part!r} is a {type(modules[part]).__name__}, not an encoder; {_encoders_in(modules)}"
            )
        return part, modules[part]
    if is_encoder(model):
        return "", model
    modules = dict(model.named_modules())
    for place in PLACES:
        if place in modules and is_encoder(modules[place]):
            return place, modules[place]
    raise ConfigError(f"{type(model).__name__} has no encoder that can be probed; {_encoders_in(modules)}")


def is_encoder(module: nn.Module) -> bool:
    """Return whether `encode_tokens` supports a module."""
    return isinstance(module, (TimmEncoder, ViT)) or hasattr(module, "forward_features")


def encode_tokens(encoder: nn.Module, images: Tensor, layer: int | None = None) -> Tokens:
    """Return the tokens of normalized images (B, C, H, W).

    Args:
        encoder: A TimmEncoder, whose last map is used; a ViT; or a timm model, whose last features before pooling are
            used.
        images: Normalized images.
        layer: Index of a TimmEncoder's output, or of the block of a transformer whose output is used, without the norm
            after the last block. Default: the final output.

    Raises:
        ConfigError: There is no such layer.
    """
    if isinstance(encoder, TimmEncoder):
        maps = encoder(images)
        return _from_map(maps[_index(-1 if layer is None else layer, len(maps), "outputs")])
    run = encoder.forward_features if hasattr(encoder, "forward_features") else encoder
    output = run(images) if layer is None else _block_output(encoder, run, images, layer)
    if output.ndim == 4:
        channels_last = "NHWC" in str(getattr(encoder, "output_fmt", ""))
        return _from_map(output.permute(0, 3, 1, 2) if channels_last else output)
    has_cls = getattr(encoder, "cls_token", None) is not None
    prefix = getattr(encoder, "num_prefix_tokens", int(has_cls))  # with register tokens, after the class token
    return Tokens(output[:, 0] if has_cls and prefix else None, output[:, prefix:])


def encoder_preprocessor(preprocessor: nn.Module, encoder: nn.Module, name: str) -> ImagePreprocessor:
    """Return a preprocessor with the normalization of a model, without padding and augmentation.

    Args:
        preprocessor: The data preprocessor of the model, with mean and std; or without them, if the model normalizes
            with those of its TimmEncoder.
        encoder: The encoder of the model.
        name: Name of the model in messages.

    Raises:
        ConfigError: The normalization is unknown.
    """
    if not isinstance(preprocessor, ImagePreprocessor):
        kind = type(preprocessor).__name__
        raise ConfigError(f"{name}: the data preprocessor is a {kind}, not an ImagePreprocessor: its mean is unknown")
    if preprocessor.statistics is not None:
        mean, std = preprocessor.statistics
        return ImagePreprocessor(mean=mean, std=std)
    if isinstance(encoder, TimmEncoder):  # its network normalizes, or it does so itself
        return ImagePreprocessor(**({} if encoder.normalize else {"mean": encoder.mean, "std": encoder.std}))
    raise ConfigError(f"{name}: the data preprocessor does not normalize, and mean and std of the encoder are unknown")


def token_dim(encoder: nn.Module) -> int:
    """Return the channels of the tokens of an encoder."""
    if isinstance(encoder, TimmEncoder):
        return encoder.channels[-1]
    for name in ("num_features", "embed_dim", "dim"):
        if isinstance(getattr(encoder, name, None), int):
            return getattr(encoder, name)
    raise ConfigError(f"{type(encoder).__name__} does not state its number of channels (num_features)")


def grid_side(encoder: nn.Module) -> int | None:
    """Return the side of the square images that position embeddings are made for; None for images of any size."""
    network = encoder.model if isinstance(encoder, TimmEncoder) else encoder
    size: Any = getattr(getattr(network, "patch_embed", None), "img_size", None) or getattr(network, "img_size", None)
    if size is None:
        return None
    height, width = (size, size) if isinstance(size, int) else size
    return int(height) if height == width else None


def _from_map(features: Tensor) -> Tokens:
    return Tokens(None, features.flatten(2).transpose(1, 2))  # (B, C, h, w) -> (B, h w, C)


def _block_output(encoder: nn.Module, run: Any, images: Tensor, layer: int) -> Tensor:
    blocks = getattr(encoder, "blocks", None)
    if not isinstance(blocks, (nn.ModuleList, nn.Sequential)):
        raise ConfigError(f"layer={layer}: {type(encoder).__name__} has no sequence of blocks; use its final output")
    index = _index(layer, len(blocks), "blocks")
    if isinstance(encoder, ViT) and index in (-1, len(blocks) - 1):
        return encoder.encode(encoder.patches(images))
    kept: list[Tensor] = []
    hook = blocks[index].register_forward_hook(lambda _m, _i, out: kept.append(out))
    try:
        run(images)
    finally:
        hook.remove()
    return kept[-1]


def _index(layer: int, count: int, what: str) -> int:
    if not -count <= layer < count:
        raise ConfigError(f"layer={layer}: the encoder has {count} {what}, 0..{count - 1}")
    return layer


def _encoders_in(modules: dict[str, nn.Module]) -> str:
    found = [name for name, module in modules.items() if name and is_encoder(module)]
    outer = [name for name in found if not any(name.startswith(f"{other}.") for other in found)]
    return f"choose one with part: {', '.join(outer[:8])}" if outer else "it has none"
