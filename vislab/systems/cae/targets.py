"""Reconstruction targets: the protocol that all of them follow, and pixels.

A target decides what the decoder predicts for a token: it names the number of channels, computes labels of a batch, and
compares predictions with them. The model knows nothing else of it, so a target is one line of a config.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vislab.errors import check_choice
from vislab.models.encoders.vit import ViT
from vislab.models.preprocessor import ImagePreprocessor
from vislab.ops.patches import take_rows
from vislab.registry import MODELS
from vislab.structures import DataSample

PIXEL_EPS = 1e-6


@dataclass
class MaskedBatch:
    """A batch with its division into visible and masked patches, as targets see it.

    Attributes:
        images: (B, C, H, W), as the encoder sees them (normalized with the preprocessor's mean and std).
        patches: (B, N, C * p * p), the patches of `images` in raster order; values in the order (C, p, p).
        ids_visible: (B, V) int64, ascending.
        ids_masked: (B, M) int64, ascending.
        samples: The B data samples, for targets that need more than the image, such as a second view.
        latents: (B, M, D), the alignment target of the masked patches, without gradient; None unless the model aligns
            latents or the target has `needs_latents`.
        all_latents: (B, N, D), likewise of all patches, if the model has target_context="full".
        preprocessor: The model's data preprocessor, for `pixels`.
    """

    images: Tensor
    patches: Tensor
    ids_visible: Tensor
    ids_masked: Tensor
    samples: list[DataSample] | None = None
    latents: Tensor | None = None
    all_latents: Tensor | None = None
    preprocessor: ImagePreprocessor | None = None

    @property
    def pixels(self) -> Tensor:
        """The images (B, C, H, W) in [0, 1], before normalization."""
        return to_pixels(self.images, self.preprocessor)


def wide(x: Tensor) -> Tensor:
    """Return x in float32 if it has half precision; float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def to_pixels(images: Tensor, preprocessor: ImagePreprocessor | None) -> Tensor:
    """Return images in [0, 1] of images (B, C, H, W) that `preprocessor` normalized."""
    if getattr(preprocessor, "gain", None) is None:
        return images
    return (images - preprocessor.shift) / (255 * preprocessor.gain)


class Target(nn.Module):
    """Base class of reconstruction targets.

    The model calls `fit(encoder)` once, when it is built; and for each batch `labels(batch)`, without gradient,
    `loss(prediction, labels)` and `extras(prediction, labels)`. Labels are whatever the target's own functions
    understand: pixels (B, M, C p p), codes (B, M), features (B, 1 + N, C), a dict. Frozen networks and trained
    prototypes are submodules of the target; frozen ones stay in eval mode by overriding `train`.

    Attributes:
        name: Name in titles and messages.
        tokens: "masked": predictions are (B, M, channels), rows in the order of `ids_masked`, from a decoder on masked
            latents alone. "all": predictions are (B, 1 + N, channels) of class token, visible and masked patches,
            [class, ids_visible, ids_masked], from a head without decoder blocks (CAE v2).
        needs_latents: Whether `labels` reads `batch.latents`, as targets in the latent space do.
    """

    name: str = "target"
    tokens: Literal["masked", "all"] = "masked"
    needs_latents: bool = False

    def fit(self, encoder: ViT, latent_dim: int) -> int:
        """Return the number of channels of a prediction, after checking that the target suits the encoder.

        Args:
            encoder: The encoder, with its grid, patch size and channels.
            latent_dim: Channels of `batch.latents`.

        Raises:
            ConfigError: The target does not suit the encoder, such as a teacher with another grid.
        """
        raise NotImplementedError

    def labels(self, batch: MaskedBatch) -> Tensor | dict[str, Tensor]:
        """Return the labels of a batch. Called without gradient and, if trained, before the prediction is compared."""
        raise NotImplementedError

    def loss(self, prediction: Tensor, labels: Tensor | dict[str, Tensor]) -> Tensor:
        """Return the loss of each token (B, M) or (B, 1 + N), in float32 whatever the autocast.

        The model takes the mean over all tokens of the batch.
        """
        raise NotImplementedError

    def extras(self, prediction: Tensor, labels: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
        """Return further scalars by name: losses of the target's own parts ("loss_..."), and values to log."""
        return {}

    def draw(self, prediction: Tensor, batch: MaskedBatch) -> Tensor | None:
        """Return the predicted patches (B, M, C * p * p) in the values of `batch.images`; None if not pictures."""
        return None


@MODELS.register_module()
class PixelTarget(Target):
    """The pixels of the masked patches.

    Args:
        kind: "l2" for the squared, "l1" for the absolute difference (as SimMIM), averaged over a patch.
    """

    name = "pixels"

    def __init__(self, *, kind: Literal["l2", "l1"] = "l2") -> None:
        super().__init__()
        check_choice(f"{type(self).__name__}: kind", kind, ("l2", "l1"))
        self.kind = kind

    def fit(self, encoder: ViT, latent_dim: int) -> int:
        return encoder.in_channels * encoder.patch_size**2

    def labels(self, batch: MaskedBatch) -> Tensor:
        return wide(take_rows(batch.patches, batch.ids_masked))

    def loss(self, prediction: Tensor, labels: Tensor) -> Tensor:
        difference = wide(prediction) - labels
        return (difference.square() if self.kind == "l2" else difference.abs()).mean(dim=2)

    def draw(self, prediction: Tensor, batch: MaskedBatch) -> Tensor:
        return wide(prediction)


@MODELS.register_module()
class NormPixelTarget(PixelTarget):
    """The pixels of the masked patches, each patch normalized by its own mean and unbiased variance (MAE, section 4.1).

    Args:
        kind: "l2" or "l1"; see PixelTarget.
    """

    name = "normalized pixels"

    def labels(self, batch: MaskedBatch) -> Tensor:
        patches = super().labels(batch)
        mean, std = patch_statistics(patches)
        return (patches - mean) / std

    def draw(self, prediction: Tensor, batch: MaskedBatch) -> Tensor:
        """Return the predicted patches with the mean and deviation of the true ones put back."""
        mean, std = patch_statistics(super().labels(batch))
        return wide(prediction) * std + mean


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (..., 1) of patches (..., values); constant patches have std 1e-3."""
    variance, mean = torch.var_mean(patches, dim=-1, keepdim=True)
    return mean, (variance + PIXEL_EPS).sqrt()
