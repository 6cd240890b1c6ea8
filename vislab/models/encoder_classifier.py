"""Image classification with any encoder: frozen, for linear and attentive probes as published, or fine-tuned."""

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError, check_choice
from vislab.layers.attention_pool import AttentivePool, EfficientPool
from vislab.models.base import build_part
from vislab.models.classifier import BaseClassifier
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.encoders.tokens import Tokens, encode_tokens, is_encoder, token_dim
from vislab.models.encoders.vit import ViT
from vislab.models.preprocessor import ImagePreprocessor
from vislab.registry import MODELS

POOLS = ("class", "mean", "attentive", "efficient")
NORMS = ("none", "batch", "encoder")


class ProbeHead(nn.Module):
    """Pooling, batch norm without trained parameters, and a linear classifier, for tokens (B, N, dim).

    Args:
        dim: Channels of the tokens.
        num_classes: Number of classes.
        pool: Module from tokens to (B, out_dim). Default: the tokens are vectors (B, dim) already.
        norm: Use the batch norm.
        eps: Epsilon of the batch norm.
        std: Standard deviation of the initial weights of the classifier.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_classes: int,
        pool: nn.Module | None = None,
        norm: bool = True,
        eps: float = 1e-6,
        std: float = 0.01,
    ) -> None:
        super().__init__()
        self.pool = pool
        width = dim if pool is None else pool.out_dim
        self.norm = nn.BatchNorm1d(width, affine=False, eps=eps) if norm else None
        self.classifier = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.classifier.weight, std=std)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits (B, num_classes) in float32."""
        features = tokens if self.pool is None else self.pool(tokens)
        return self.classifier(features if self.norm is None else self.norm(features)).float()


def build_pool(kind: str, dim: int, args: dict | None = None) -> nn.Module | None:
    """Return the pooling module of "attentive" or "efficient" with its arguments; None for "class" and "mean".

    Raises:
        ConfigError: Another kind, or arguments that do not fit.
    """
    check_choice("pool", kind, POOLS)
    if kind in ("class", "mean"):
        if args:
            raise ConfigError(f"pool_args={args}: pool={kind!r} takes no arguments")
        return None
    given = dict(args or {})
    name = "num_heads" if kind == "attentive" else "num_queries"
    if name not in given and (kind == "attentive" or "out_dim" not in given):
        given[name] = next(n for n in ((12, 8, 4, 2, 1) if kind == "attentive" else (8, 4, 2, 1)) if dim % n == 0)
    try:
        return (AttentivePool if kind == "attentive" else EfficientPool)(dim=dim, **given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"pool={kind!r}: {error}") from None


@MODELS.register_module()
class EncoderClassifier(BaseClassifier):
    """Encoder, pooling, norm and linear classifier; parameters of the encoder are named `encoder.*`, as in CAE.

    Weights of a pre-trained model are loaded with `tools/train.py CONFIG --load-from CHECKPOINT`, which reports the new
    parameters (the head) as missing.

    Args:
        encoder: A module that `encode_tokens` supports, or its config; the default type is TimmEncoder.
        num_classes: Number of classes.
        frozen: Keep the encoder in eval mode, without gradient.
        pool: "class" for the class token, "mean" of the patch tokens, "attentive" or "efficient" (all tokens).
        pool_args: Arguments of AttentivePool or EfficientPool.
        norm: "batch" for a batch norm without trained parameters; "encoder" for the final norm of the encoder, applied
            to the pooled output of its last block instead of to the tokens; or "none".
        norm_eps: Epsilon of the batch norm.
        head_std: Standard deviation of the initial weights of the classifier.
        loss, mixup: As in ImageClassifier.
        data_preprocessor: Module or config that returns a normalized batch. Default for a TimmEncoder: its mean and
            std.

    Raises:
        ConfigError: Unknown option, or parts that do not fit.
    """

    def __init__(
        self,
        *,
        encoder: Annotated[dict, TimmEncoder] | nn.Module,
        num_classes: int,
        frozen: bool = False,
        pool: Literal["class", "mean", "attentive", "efficient"] = "mean",
        pool_args: dict | None = None,
        norm: Literal["none", "batch", "encoder"] = "none",
        norm_eps: float = 1e-6,
        head_std: float = 0.01,
        loss: dict | nn.Module | None = None,
        mixup: dict | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        check_choice("EncoderClassifier: norm", norm, NORMS)
        encoder = build_part(encoder, TimmEncoder)
        if not is_encoder(encoder):
            raise ConfigError(f"EncoderClassifier: encoder is a {type(encoder).__name__}, which returns no tokens")
        if norm == "encoder" and not (
            hasattr(encoder, "blocks") and isinstance(getattr(encoder, "norm", None), nn.Module)
        ):
            raise ConfigError(
                f"EncoderClassifier: norm='encoder' needs a transformer with blocks and a final norm, not "
                f"{type(encoder).__name__}"
            )
        if data_preprocessor is None:
            if not hasattr(encoder, "mean"):
                raise ConfigError("EncoderClassifier: set data_preprocessor, with mean and std of the pre-training")
            data_preprocessor = {"type": ImagePreprocessor, "mean": encoder.mean, "std": encoder.std}
        super().__init__(
            num_classes=num_classes, loss=loss, mixup=mixup, data_preprocessor=data_preprocessor, init_cfg=init_cfg
        )
        self.encoder, self.pool, self.norm, self.frozen = encoder, pool, norm, frozen
        self.compiled_parts = ("encoder.blocks" if isinstance(encoder, ViT) else "encoder", "head")
        dim = token_dim(encoder)
        self.head = ProbeHead(
            dim=dim,
            num_classes=num_classes,
            pool=build_pool(pool, dim, pool_args),
            norm=norm == "batch",
            eps=norm_eps,
            std=head_std,
        )
        if frozen:
            encoder.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "EncoderClassifier":
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def compute_logits(self, inputs: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            features = self._features(encode_tokens(self.encoder, inputs, -1 if self.norm == "encoder" else None))
        return self.head(features)

    def _features(self, tokens: Tokens) -> Tensor:
        """Return the input of the head: (B, D), or (B, N, D) for attentive pooling."""
        features = tokens.all() if self.head.pool is not None else tokens.pool(self.pool)
        return self.encoder.norm(features) if self.norm == "encoder" else features
