"""CAE: encoder on visible patches, latent regressor, decoder, alignment with the latents of the masked patches."""

import copy
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError, DataError, check_choice
from vislab.models.base import VisionModel, build_part, require_finite
from vislab.models.encoders.vit import ViT
from vislab.models.export_graph import ExportGraph
from vislab.ops.patches import take_rows, unpatchify
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.cae.batch import MaskedImagePreprocessor, patch_ids
from vislab.systems.cae.monitor import latent_statistics
from vislab.systems.cae.regressor import LatentDecoder, LatentRegressor
from vislab.systems.cae.targets import MaskedBatch, NormPixelTarget, Target, to_pixels, wide

Ids = tuple[Tensor, Tensor]


@MODELS.register_module()
class CAE(VisionModel):
    """Context autoencoder: masked-image pre-training of a ViT (arXiv 2202.03026; v2: arXiv 2211.09799).

    The encoder sees the visible patches, the regressor predicts the latents of the masked ones from them, and the
    decoder predicts the target from these latents alone. The alignment loss compares the predicted latents with those
    of the same encoder on the masked patches, without gradient. With a target of all tokens (CAE v2), a head predicts
    from class token, visible and masked latents directly, without decoder blocks and alignment.

    Args:
        encoder: ViT or its config.
        regressor: LatentRegressor or its config, without the arguments that the model sets.
        decoder: LatentDecoder or its config, likewise; not built with reconstruction_weight=0.
        target: Target or its config. Default: NormPixelTarget().
        alignment_weight: Weight of the alignment loss. The published 2 belongs to the loss of 8192 codes, which starts
            at 9; normalized pixels start at 1.
        reconstruction_weight: Weight of the target's loss. Without it training collapses, which the control shows.
        ema_decay: 0: the alignment target is computed by the encoder itself, as published. Above 0: by a copy that
            moves to the encoder by 1 - ema_decay at each training step, before the target is computed.
        target_drop_path: Whether stochastic depth is active in the alignment target, as in the official code.
        target_context: Patches seen by the encoder that computes the alignment target: the masked ones, as published,
            or all ("full").
        monitor: Whether to log `latent_std` and `latent_rank`; see latent_statistics.
        data_preprocessor: Module or config. Default: MaskedImagePreprocessor with ImageNet's mean and std.

    Losses: loss_reconstruction, loss_alignment, and those of the target.

    Predictions: `pred_reconstruction_loss` and `pred_alignment_loss`, scalars without weights, as far as they are used;
    and if the target is a picture, `pred_image`, (3, H, W) in [0, 1]: the visible patches, and the predicted ones with
    the statistics of the true ones put back.

    Raises:
        ConfigError: The target does not suit encoder or decoder, or an argument is out of range.
    """

    compiled_parts = ("encoder.blocks", "regressor.blocks", "decoder.blocks")

    def __init__(
        self,
        *,
        encoder: dict | nn.Module,
        regressor: dict | nn.Module,
        decoder: dict | nn.Module | None = None,
        target: dict | nn.Module | None = None,
        alignment_weight: float = 0.2,
        reconstruction_weight: float = 1.0,
        ema_decay: float = 0.0,
        target_drop_path: bool = False,
        target_context: Literal["masked", "full"] = "masked",
        monitor: bool = True,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        if data_preprocessor is None:
            stats = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
            data_preprocessor = {"type": MaskedImagePreprocessor, **stats}
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        if not 0 <= ema_decay < 1:
            raise ConfigError(f"CAE: ema_decay={ema_decay} is not in [0, 1); 0 shares the weights of the encoder")
        check_choice("CAE: target_context", target_context, ("masked", "full"))
        if min(alignment_weight, reconstruction_weight) < 0 or alignment_weight + reconstruction_weight <= 0:
            raise ConfigError(
                f"CAE: alignment_weight={alignment_weight}, reconstruction_weight={reconstruction_weight}: expected "
                "weights of at least 0, and one above"
            )
        self.alignment_weight, self.reconstruction_weight = alignment_weight, reconstruction_weight
        self.target_drop_path, self.target_context = target_drop_path, target_context
        self.monitor = monitor
        self.encoder = build_part(encoder, ViT)
        self.target: Target = build_part(target, NormPixelTarget)
        whole = self.target.tokens == "all"
        if whole and alignment_weight:
            raise ConfigError(
                f"CAE: {type(self.target).__name__} predicts all tokens, which leaves no latents to align: set "
                "alignment_weight=0"
            )
        if isinstance(regressor, dict):
            given = {"encoder_dim": self.encoder.dim, "grid": self.encoder.grid, "final_norm": not whole}
            regressor = MODELS.build({"type": LatentRegressor, **regressor, **given})
        self.regressor = regressor
        self.decoder = None
        if reconstruction_weight:
            self.decoder = self._build_decoder(decoder, whole)
        self.uses_latents = bool(alignment_weight) or (self.target.needs_latents and self.decoder is not None)
        self.ema_decay = ema_decay if self.uses_latents else 0.0
        self.ema_encoder = None
        if self.ema_decay:
            self.ema_encoder = copy.deepcopy(self.encoder).requires_grad_(False)

    def forward_tensor(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None, patch_ids: Ids | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs of the network of normalized images (B, C, H, W).

        Args:
            inputs: The images.
            data_samples: B samples with patch_mask (h, w) bool, True = masked.
            patch_ids: Visible and masked patches, from MaskedImagePreprocessor. Default: from `data_samples`.

        Returns:
            "visible": (B, 1 + V, dim), class token and visible patches after the final norm; "latents": (B, M, D),
            predicted latents; "prediction": (B, M, channels), or (B, 1 + N, channels) of a target of all tokens.
        """
        batch = self._batch(inputs, data_samples, patch_ids)
        raw = self._encode_visible(batch)
        return self._predict(batch, raw)

    def forward_loss(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None, patch_ids: Ids | None = None
    ) -> dict[str, Tensor]:
        """Return the losses, weighted, in float32, and values to log; see forward_tensor for the arguments."""
        batch = self._batch(inputs, data_samples, patch_ids)
        if self.ema_encoder is not None and self.training:
            self._update_ema()
        raw = self._encode_visible(batch)
        outputs = self._predict(batch, raw)
        labels = self._targets(batch)
        values = {}
        if self.decoder is not None:
            tokens = self.target.loss(outputs["prediction"], labels)
            values["loss_reconstruction"] = self.reconstruction_weight * tokens.mean()
            values |= self.target.extras(outputs["prediction"], labels)
        if self.alignment_weight:
            distance = F.mse_loss(wide(outputs["latents"]), wide(batch.latents))
            values["loss_alignment"] = self.alignment_weight * distance
        if self.monitor:
            latents = raw[:, 1 : 1 + batch.ids_visible.shape[1]].detach()
            std, rank = latent_statistics(latents, batch.ids_visible, self.encoder.num_patches)
            values |= {"latent_std": std, "latent_rank": rank}
        return values

    def forward_predict(
        self, inputs: Tensor, data_samples: list[DataSample], patch_ids: Ids | None = None
    ) -> list[DataSample]:
        """Return the samples with their losses and, if the target is a picture, `pred_image`; see the class."""
        batch = self._batch(inputs, data_samples, patch_ids)
        outputs = self._predict(batch, self._encode_visible(batch))
        require_finite(outputs["latents"], "latents")
        labels = self._targets(batch)
        fields = {}
        if self.decoder is not None:
            prediction = require_finite(outputs["prediction"], "predictions")
            fields["pred_reconstruction_loss"] = self.target.loss(prediction, labels).mean(dim=1)
            drawn = self.target.draw(prediction, batch)
            fields |= {} if drawn is None else {"pred_image": self._compose(batch, drawn)}
        if self.alignment_weight:
            distance = (wide(outputs["latents"]) - wide(batch.latents)).square()
            fields["pred_alignment_loss"] = distance.mean(dim=(1, 2))
        for i, sample in enumerate(data_samples):
            for name, values in fields.items():
                setattr(sample, name, values[i])
        return data_samples

    def export_graph(self) -> ExportGraph:
        """Return the encoder: tokens of whole images after the final norm."""

        def run(images: Tensor) -> dict[str, Tensor]:
            tokens = self.encoder(images)
            return {"class_token": tokens[:, 0], "patch_tokens": tokens[:, 1:]}

        dim = self.encoder.dim
        patches = f"(batch, patches, {dim}), row by row of a grid of {self.encoder.grid[0]}x{self.encoder.grid[1]}"
        return ExportGraph(
            [self.encoder],
            run,
            task="features",
            outputs={"class_token": f"(batch, {dim})", "patch_tokens": patches},
            preprocessor=self.data_preprocessor,
            img_size=self.encoder.img_size,
        )

    def _batch(self, images: Tensor, samples: Sequence[DataSample] | None, ids: Ids | None) -> MaskedBatch:
        """Return the batch with its patches and their division."""
        visible, masked = patch_ids(samples) if ids is None else ids
        for sample in samples or ():
            shape = tuple(sample.patch_mask.shape) if "patch_mask" in sample else self.encoder.grid
            if shape != self.encoder.grid:
                raise DataError(
                    f"CAE: patch_mask is {shape}, but the encoder has a grid of {self.encoder.grid} patches: set the "
                    "size of the mask transform to the grid"
                )
        return MaskedBatch(
            images=images,
            patches=self.encoder.patches(images),
            ids_visible=visible.to(images.device, non_blocking=True),
            ids_masked=masked.to(images.device, non_blocking=True),
            samples=None if samples is None else list(samples),
            preprocessor=self.data_preprocessor,
        )

    def _encode_visible(self, batch: MaskedBatch) -> Tensor:
        """Return class token and visible latents before the final norm, (B, 1 + V, dim)."""
        return self.encoder.encode(take_rows(batch.patches, batch.ids_visible), batch.ids_visible)

    def _predict(self, batch: MaskedBatch, raw: Tensor) -> dict[str, Tensor]:
        """Return "visible", "latents" and, with a decoder, "prediction"; see forward_tensor."""
        visible = self.encoder.norm(raw)
        context = self.regressor.adapter(visible)
        latents = self.regressor(context[:, 1:], batch.ids_visible, batch.ids_masked)  # (B, M, D)
        outputs = {"visible": visible, "latents": latents}
        if self.decoder is not None:
            if self.target.tokens == "all":
                outputs["prediction"] = self.decoder.project(torch.cat((context, latents), dim=1))
            else:
                outputs["prediction"] = self.decoder(latents, self.regressor.positions(batch.ids_masked))
        return outputs

    @torch.no_grad()
    def _targets(self, batch: MaskedBatch) -> Tensor | dict[str, Tensor] | None:
        """Compute the alignment target in `batch.latents` if used, and return the labels of the target."""
        if self.uses_latents:
            batch.latents = self.align_target(batch)
        return None if self.decoder is None else self.target.labels(batch)

    @torch.no_grad()
    def align_target(self, batch: MaskedBatch) -> Tensor:
        """Return the latents (B, M, D) of the masked patches by the encoder (or its copy), after norm and adapter.

        With the full context, those of all patches are kept in `batch.all_latents`.
        """
        encoder = self.encoder if self.ema_encoder is None else self.ema_encoder
        ids, drop = batch.ids_masked, self.target_drop_path
        if self.target_context == "masked":
            latents = encoder.encode(take_rows(batch.patches, ids), ids, drop)[:, 1:]  # (B, M, dim)
            return self.regressor.adapter(encoder.norm(latents))
        latents = encoder.encode(batch.patches, None, drop)[:, 1:]  # (B, N, dim)
        batch.all_latents = self.regressor.adapter(encoder.norm(latents))
        return take_rows(batch.all_latents, ids)

    @torch.no_grad()
    def _update_ema(self) -> None:
        pairs = zip(self.ema_encoder.parameters(), self.encoder.parameters(), strict=True)
        copies, current = zip(*pairs, strict=True)
        torch._foreach_lerp_(list(copies), list(current), 1 - self.ema_decay)

    def _compose(self, batch: MaskedBatch, drawn: Tensor) -> Tensor:
        """Return images (B, C, H, W) in [0, 1] of the visible patches and the drawn masked ones (B, M, C * p * p)."""
        places = batch.ids_masked[..., None].expand_as(drawn)
        patches = batch.patches.scatter(1, places, drawn.to(batch.patches.dtype))  # (B, N, C * p * p)
        images = unpatchify(patches, self.encoder.grid, self.encoder.patch_size)
        return to_pixels(images, self.data_preprocessor).clamp(0, 1)

    def _build_decoder(self, decoder: dict | nn.Module | None, whole: bool) -> nn.Module:
        channels = self.target.fit(self.encoder, self.regressor.dim)
        if isinstance(decoder, nn.Module):
            return decoder
        settings = {"type": LatentDecoder, **(decoder or {})}
        if whole and settings.setdefault("depth", 0):
            raise ConfigError(
                f"CAE: {type(self.target).__name__} predicts all tokens, but decoder blocks see masked ones only: set "
                "decoder=dict(depth=0)"
            )
        return MODELS.build({**settings, "dim": self.regressor.dim, "out_channels": channels})
