"""Controls for CAE with the same encoder, targets, data and monitor: SimMIM and MAE.

Both predict the target of the masked patches and align nothing. They differ from CAE in where the mask tokens are:
SimMIM encodes them with the visible patches, MAE adds them in the decoder, which sees the visible latents too.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.models.base import build_part
from vislab.models.encoders.vit import ViT, run_blocks
from vislab.ops.patches import take_rows
from vislab.registry import MODELS
from vislab.systems.cae.model import CAE
from vislab.systems.cae.regressor import LatentRegressor
from vislab.systems.cae.targets import MaskedBatch, NormPixelTarget


class _Control(CAE):
    """CAE without regressor blocks and alignment; `regressor` keeps the mask token and the positions of the decoder."""

    def __init__(
        self, *, encoder: dict | nn.Module, target: dict | nn.Module | None, dim: int | None, **settings
    ) -> None:
        encoder, target = build_part(encoder, ViT), build_part(target, NormPixelTarget)
        if target.tokens == "all" or target.needs_latents:
            raise ConfigError(
                f"{type(self).__name__}: {type(target).__name__} needs predictions of all tokens or a teacher; "
                "the controls predict masked patches only"
            )
        mask_tokens = LatentRegressor(
            dim=dim or encoder.dim, depth=0, num_heads=1, encoder_dim=encoder.dim, grid=encoder.grid, final_norm=False
        )
        super().__init__(encoder=encoder, regressor=mask_tokens, target=target, alignment_weight=0.0, **settings)


@MODELS.register_module()
class SimMIM(_Control):
    """Full encoder: mask tokens take the place of the masked patches, and a linear layer predicts the target from them.

    As SimMIM (arXiv 2111.09886), with any target, mask and encoder of this framework.

    Args:
        encoder: ViT or its config.
        target: Target or its config. Default: NormPixelTarget(); published: PixelTarget(kind="l1").
        monitor: Whether to log statistics of the visible latents; see CAE.
        data_preprocessor: As in CAE.
    """

    compiled_parts = ("encoder.blocks",)

    def __init__(
        self,
        *,
        encoder: dict | nn.Module,
        target: dict | nn.Module | None = None,
        monitor: bool = True,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        given = {"monitor": monitor, "data_preprocessor": data_preprocessor, "init_cfg": init_cfg}
        super().__init__(encoder=encoder, dim=None, decoder={"depth": 0}, target=target, **given)
        self.decoder.norm = nn.Identity()  # the encoder's final norm is the only one

    def _encode_visible(self, batch: MaskedBatch) -> Tensor:
        """Return class token, visible patches and mask tokens before the final norm, (B, 1 + V + M, dim)."""
        encoder = self.encoder
        visible = encoder.embed(take_rows(batch.patches, batch.ids_visible), batch.ids_visible)
        masked = self.regressor.mask_token + F.embedding(batch.ids_masked, encoder.pos_embed[0, 1:])
        tokens = torch.cat((visible, masked.to(visible.dtype)), dim=1)  # attention does not depend on the order
        return run_blocks(encoder.blocks, tokens, drop=True, recompute=encoder.grad_checkpointing)

    def _predict(self, batch: MaskedBatch, raw: Tensor) -> dict[str, Tensor]:
        count = batch.ids_masked.shape[1]
        visible, latents = self.encoder.norm(raw).split((raw.shape[1] - count, count), dim=1)
        return {"visible": visible, "latents": latents, "prediction": self.decoder.project(latents)}


@MODELS.register_module()
class MAE(_Control):
    """Visible-only encoder; a decoder of visible latents and mask tokens predicts the target of the masked patches.

    As the masked autoencoder (arXiv 2111.06377), with any target, mask and encoder of this framework. Differences: the
    layer scale of the blocks, and a norm after the linear layer to the decoder's width, where that differs.

    Args:
        encoder: ViT or its config.
        decoder: Config of LatentDecoder.
        decoder_dim: Channels of the decoder. Published: 512. Default: those of the encoder.
        target: Target or its config. Default: NormPixelTarget(), as published.
        monitor: Whether to log statistics of the visible latents; see CAE.
        data_preprocessor: As in CAE.
    """

    compiled_parts = ("encoder.blocks", "decoder.blocks")

    def __init__(
        self,
        *,
        encoder: dict | nn.Module,
        decoder: dict,
        decoder_dim: int | None = None,
        target: dict | nn.Module | None = None,
        monitor: bool = True,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        given = {"monitor": monitor, "data_preprocessor": data_preprocessor, "init_cfg": init_cfg}
        super().__init__(encoder=encoder, dim=decoder_dim, decoder=decoder, target=target, **given)

    def _predict(self, batch: MaskedBatch, raw: Tensor) -> dict[str, Tensor]:
        visible = self.encoder.norm(raw)
        context = self.regressor.adapter(visible)
        known = context[:, 1:] + self.regressor.positions(batch.ids_visible)
        masked = self.regressor.mask_token + self.regressor.positions(batch.ids_masked)
        tokens = torch.cat((context[:, :1], known, masked.to(known.dtype)), dim=1)  # (B, 1 + N, D)
        latents = run_blocks(self.decoder.blocks, tokens, drop=True, recompute=False)[:, -batch.ids_masked.shape[1] :]
        return {"visible": visible, "latents": latents, "prediction": self.decoder.project(latents)}
