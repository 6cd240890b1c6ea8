"""Target of features: the tokens of a frozen timm model, compared by their angle (CAE v2, arXiv 2211.09799)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from vislab.errors import CheckpointError, ConfigError, check_choice
from vislab.models.encoders.timm_models import create_model, exported_facts, load_weights
from vislab.models.encoders.vit import ViT
from vislab.ops.images import normalize
from vislab.ops.patches import take_rows
from vislab.registry import MODELS
from vislab.systems.cae.frozen import Frozen
from vislab.systems.cae.targets import MaskedBatch, Target, wide


@MODELS.register_module()
class FeatureTarget(Target):
    """Features of a frozen timm model; the loss is 1 - cosine.

    The teacher sees the whole image, resized to `img_size` and normalized with its own statistics. Its grid must be
    that of the encoder's patches, or have a multiple of its rows and of its columns, which are averaged. The label of
    the class token is the teacher's class token, or the mean of the map if it has none. The teacher is neither trained
    nor saved: its weights come from `pretrained`, also on resuming.

    Args:
        teacher: timm model name, e.g. "vit_base_patch16_clip_224.openai".
        pretrained: True for timm's weights (downloaded once), the path of a file, or False for random weights.
        img_size: Side or (height, width) of the teacher's images. Default: that of its pre-training.
        out_index: Index into timm's list of features. Default: the last, after the final norm.
        project: Apply the last linear layer of the teacher to its tokens (CLIP's projection; transformers only).
        tokens: "all": class token, visible and masked patches, as in CAE v2; "masked".

    Raises:
        ConfigError: Unknown model or index, or a teacher with another grid.
        CheckpointError: The weights are not available or do not fit.
    """

    name = "features of a frozen model"

    def __init__(
        self,
        *,
        teacher: str,
        pretrained: bool | str = True,
        img_size: int | Sequence[int] | None = None,
        out_index: int | None = None,
        project: bool = False,
        tokens: Literal["all", "masked"] = "all",
    ) -> None:
        super().__init__()
        check_choice("FeatureTarget: tokens", tokens, ("all", "masked"))
        args = {} if project else {"num_classes": 0}
        options = ({"dynamic_img_size": True}, {})
        network = create_model(teacher, args, owner="FeatureTarget", download=pretrained is True, alternatives=options)
        if isinstance(pretrained, str):
            missing = load_weights(network, pretrained)
            if missing:
                raise CheckpointError(
                    f"{pretrained} lacks {len(missing)} weights of {teacher!r}, e.g. {', '.join(missing[:3])}"
                )
        stats = network.pretrained_cfg | (exported_facts(pretrained) if isinstance(pretrained, str) else {})
        self.network = Frozen(network)
        self.teacher, self.tokens, self.out_index, self.project = teacher, tokens, out_index, project
        self.register_buffer("mean", torch.tensor(stats["mean"]), persistent=False)
        self.register_buffer("std", torch.tensor(stats["std"]), persistent=False)
        size = tuple(stats["input_size"][1:]) if img_size is None else img_size
        self.img_size = (size, size) if isinstance(size, int) else tuple(size)
        if len(self.img_size) != 2 or not all(isinstance(side, int) and side > 0 for side in self.img_size):
            raise ConfigError(f"FeatureTarget: img_size={img_size!r} is no size: one integer or (h, w)")
        self.is_transformer = hasattr(network, "num_prefix_tokens")
        if project and not self.is_transformer:
            raise ConfigError(f"FeatureTarget: project=True needs a transformer, {teacher!r} has no tokens")
        count = len(network.feature_info)
        if out_index is not None and not -count <= out_index < count:
            raise ConfigError(f"FeatureTarget: out_index={out_index}, {teacher!r} has {count} features")
        self.grid: tuple[int, int] = (1, 1)

    def fit(self, encoder: ViT, latent_dim: int) -> int:
        if encoder.in_channels != 3:
            raise ConfigError(
                f"FeatureTarget: the teacher sees RGB images, the encoder has in_channels={encoder.in_channels}"
            )
        self.grid = encoder.grid
        try:
            with torch.no_grad():
                _, features = self._features(torch.zeros(1, 3, *self.img_size))
        except (RuntimeError, AssertionError) as error:  # such as a side that the teacher's patches do not divide
            raise ConfigError(
                f"FeatureTarget: {self.teacher!r} cannot encode images of {self.img_size[0]}x{self.img_size[1]} "
                f"({error}): choose another img_size"
            ) from error
        rows, columns = features.shape[2:]
        if rows % self.grid[0] or columns % self.grid[1]:
            raise ConfigError(
                f"FeatureTarget: {self.teacher!r} has {rows}x{columns} features for images of {self.img_size[0]}x"
                f"{self.img_size[1]}, the encoder {self.grid[0]}x{self.grid[1]} patches: choose img_size or out_index "
                "so that its rows and columns are multiples of the encoder's"
            )
        return features.shape[1]

    def labels(self, batch: MaskedBatch) -> Tensor:
        """Return the features (B, M, C), or (B, 1 + N, C) of class token, visible and masked patches."""
        images = wide(batch.pixels)
        if tuple(images.shape[2:]) != self.img_size:
            images = F.interpolate(images, self.img_size, mode="bicubic", antialias=True).clamp(0, 1)
        first, features = self._features(normalize(images, self.mean, self.std))
        features = F.adaptive_avg_pool2d(wide(features), self.grid).flatten(2).transpose(1, 2)  # (B, N, C)
        masked = take_rows(features, batch.ids_masked)
        if self.tokens == "masked":
            return masked
        return torch.cat((wide(first), take_rows(features, batch.ids_visible), masked), dim=1)

    def loss(self, prediction: Tensor, labels: Tensor) -> Tensor:
        return 1 - F.cosine_similarity(wide(prediction), labels, dim=2)

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the label of the class token (B, 1, C) and the map (B, C, h, w) of normalized images."""
        network = self.network.network
        if not self.is_transformer:
            index = -1 if self.out_index is None else self.out_index
            maps = network.forward_intermediates(images, indices=[index], intermediates_only=True, stop_early=True)[0]
            return maps.mean(dim=(2, 3))[:, None], maps
        count = len(network.feature_info)
        index = count - 1 if self.out_index is None else self.out_index % count
        maps, prefix = network.forward_intermediates(
            images,
            indices=[index],
            intermediates_only=True,
            stop_early=True,
            norm=index == count - 1,
            return_prefix_tokens=True,
        )[0]
        tokens = maps.flatten(2).transpose(1, 2)  # (B, h * w, C)
        first = tokens.mean(dim=1, keepdim=True) if prefix is None or not prefix.shape[1] else prefix[:, :1]
        if self.project:
            first, tokens = network.head(first), network.head(tokens)
        return first, tokens.transpose(1, 2).unflatten(2, maps.shape[2:])
