"""EcoM2F: Mask2Former with early exits, and a gate that selects one of them for each image."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from torch import Tensor, nn

from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.mask2former import Mask2Former, Mask2FormerLoss, MaskDecoder, PixelDecoder
from vislab.models.mask2former.inference import MaskInference
from vislab.models.mask2former.pixel_decoder import Tokens
from vislab.registry import MODELS
from vislab.structures import DataSample
from vislab.systems.eco_m2f.early_exits import Alpha, EarlyExits, ExitMode, Policy


@MODELS.register_module()
class EcoM2F(EarlyExits, Mask2Former):
    """Mask2Former with a number of encoder layers that depends on the image; see EarlyExits for its training.

    Args:
        exits: Numbers of layers after which the encoder may stop, increasing.
        exit_mode: "sample", "all" or "full".
        alpha: "constant" for 1, "linear" for k (published), or "quadratic" for k * k / 10.
        policy: Selection of exits in modes "predict" and "tensor": "gate"; a fixed exit; "full" for all layers;
            "oracle" for the metainfo `best_exit` of the sample; "random" with the probabilities `histogram`.
        depth_penalty: The gate selects argmax(log p - depth_penalty * k); larger values reduce the cost.
        histogram: Probabilities of the exits for "random".

    All other arguments are those of Mask2Former.
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
        thing_classes: int | Sequence[int] | None = None,
        num_queries: int = 100,
        pixel_decoder: Annotated[dict, PixelDecoder] | None = None,
        decoder: Annotated[dict, MaskDecoder] | None = None,
        loss: Annotated[dict, Mask2FormerLoss] | nn.Module | None = None,
        inference: Annotated[dict, MaskInference] | MaskInference | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(
            backbone=backbone, num_classes=num_classes, thing_classes=thing_classes, num_queries=num_queries,
            pixel_decoder=pixel_decoder, decoder=decoder, loss=loss, inference=inference,
            data_preprocessor=data_preprocessor,
        )  # fmt: skip
        self.add_exits(
            num_layers=self.pixel_decoder.num_layers, dim=self.pixel_decoder.level_embed.shape[1], exits=exits,
            exit_mode=exit_mode, alpha=alpha, policy=policy, depth_penalty=depth_penalty, histogram=histogram,
        )  # fmt: skip

    def start(self, inputs: Tensor, samples: Sequence[DataSample] | None) -> tuple[Tensor, Tokens]:
        maps = self.backbone(inputs)
        return maps[0], self.pixel_decoder.project(maps)

    def encode_layers(self, state: Tokens, num_layers: int | Sequence[int]) -> Tokens:
        return self.pixel_decoder.encode(state, num_layers)

    def walk(self, state: Tokens, exits: Sequence[int]) -> Iterator[tuple[int, Tokens]]:
        return self.pixel_decoder.walk(state, exits)

    def gate_features(self, state: Tokens) -> Tensor:
        """Return the gate features (B, dim): the mean over tokens of the coarsest level before the first layer."""
        return state.tokens[:, : state.count(1)].float().mean(1)
