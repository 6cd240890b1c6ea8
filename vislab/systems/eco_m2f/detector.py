"""EcoDETR: Deformable DETR with early exits of its encoder, and a gate that selects one of them for each image."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from torch import Tensor, nn

from vislab.models.deformable_detr import BoxInference, DeformableDETR, DetectionLoss
from vislab.models.deformable_detr.decoder import DeformableDecoder
from vislab.models.deformable_detr.denoising import Denoising
from vislab.models.deformable_detr.encoder import DeformableEncoder
from vislab.models.deformable_detr.neck import Levels, Neck
from vislab.models.deformable_detr.proposals import ProposalHead
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.eco_m2f.early_exits import Alpha, EarlyExits, ExitMode, Policy


@MODELS.register_module()
class EcoDETR(EarlyExits, DeformableDETR):
    """Deformable DETR with a number of encoder layers that depends on the image; see EarlyExits for its training.

    All exits share the first stage and the decoder. Boxes are axis-aligned or rotated.

    Args:
        exits, exit_mode, alpha, policy, depth_penalty, histogram: See EcoM2F.

    All other arguments are those of DeformableDETR.
    """

    def __init__(
        self,
        *,
        backbone: Annotated[dict, TimmEncoder] | nn.Module,
        num_classes: int,
        exits: Sequence[int] = (2, 3, 4, 5, 6),
        exit_mode: ExitMode = "sample",
        alpha: Alpha = "linear",
        policy: Policy = "full",
        depth_penalty: float = 0.0,
        histogram: Sequence[float] | None = None,
        num_queries: int = 300,
        dim: int = 256,
        num_levels: int = 4,
        box_refine: bool = False,
        two_stage: bool = False,
        learned_content: bool = False,
        rotated: bool = False,
        neck: Annotated[dict, Neck] | None = None,
        encoder: Annotated[dict, DeformableEncoder] | None = None,
        decoder: Annotated[dict, DeformableDecoder] | None = None,
        proposals: Annotated[dict, ProposalHead] | None = None,
        denoising: Annotated[dict, Denoising] | None = None,
        loss: Annotated[dict, DetectionLoss] | nn.Module | None = None,
        inference: Annotated[dict, BoxInference] | BoxInference | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone, num_classes=num_classes, num_queries=num_queries, dim=dim, num_levels=num_levels,
            box_refine=box_refine, two_stage=two_stage, learned_content=learned_content, rotated=rotated, neck=neck,
            encoder=encoder, decoder=decoder, proposals=proposals, denoising=denoising, loss=loss,
            inference=inference, data_preprocessor=data_preprocessor,
        )  # fmt: skip
        self.add_exits(
            num_layers=len(self.encoder.layers), dim=dim, exits=exits, exit_mode=exit_mode, alpha=alpha, policy=policy,
            depth_penalty=depth_penalty, histogram=histogram,
        )  # fmt: skip

    def start(self, inputs: Tensor, samples: Sequence[DataSample] | None) -> tuple[Levels, Levels]:
        levels = self.project(inputs, samples)
        return levels, levels

    def encode_layers(self, state: Levels, num_layers: int | Sequence[int]) -> Tensor:
        return self.encoder(state, num_layers)

    def walk(self, state: Levels, exits: Sequence[int]) -> Iterator[tuple[int, Tensor]]:
        return self.encoder.walk(state, exits)

    def gate_features(self, state: Levels) -> Tensor:
        """Return the gate features (B, dim): the mean over tokens of the coarsest level before the first layer."""
        height, width = state.shapes[-1]
        tokens = state.tokens[:, -height * width :].float()  # (B, h * w, dim)
        if state.mask is None:
            return tokens.mean(1)
        inside = state.mask[:, -height * width :, None].to(tokens)  # (B, h * w, 1)
        return (tokens * inside).sum(1) / inside.sum(1)
