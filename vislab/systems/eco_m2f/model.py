"""EcoM2F: Mask2Former with early exits, and a gate that selects one of them for each image."""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError, check_choice
from vislab.models.encoders.timm_encoder import TimmEncoder
from vislab.models.export_graph import ExportGraph
from vislab.models.mask2former import Mask2Former, Mask2FormerLoss, MaskDecoder, PixelDecoder
from vislab.models.mask2former.inference import MaskInference
from vislab.models.mask2former.pixel_decoder import Tokens
from vislab.registry import MODELS
from vislab.structures import DataSample

_ALPHA = {"constant": lambda k: 1.0, "linear": float, "quadratic": lambda k: k * k / 10}


@MODELS.register_module()
class EcoM2F(Mask2Former):
    """Mask2Former with a number of encoder layers that depends on the image.

    In training (step A), the loss at exit k is weighted with alpha(k). With `exit_mode="sample"`, k is `train_exit`,
    which is set by SampleExitHook in each optimizer step (without the hook: all layers); "all" trains all exits in each
    step, and "full" the last one only. The gate is fitted afterwards with `gate.fit_gate`.

    Args:
        exits: Numbers of layers after which the encoder may stop, increasing.
        exit_mode: "sample", "all" or "full".
        alpha: "constant" for 1, "linear" for k (published), or "quadratic" for k * k / 10.
        policy: Selection of exits in modes "predict" and "tensor": "gate"; a fixed exit; "full" for all layers;
            "oracle" for the metainfo `best_exit` of the sample; "random" with the probabilities `histogram`.
        depth_penalty: The gate selects argmax(log p - depth_penalty * k); larger values reduce the cost.
        histogram: Probabilities of the exits for "random".

    All other arguments are those of Mask2Former.

    Attributes:
        find_unused_parameters: True for distributed training, since layers after the sampled exit and the gate have no
            gradient.
    """

    find_unused_parameters = True

    def __init__(
        self,
        *,
        backbone: Annotated[dict, TimmEncoder] | nn.Module,
        num_classes: int,
        exits: Sequence[int] = (2, 3, 4, 5, 6),
        exit_mode: Literal["sample", "all", "full"] = "sample",
        alpha: Literal["constant", "linear", "quadratic"] = "linear",
        policy: Literal["gate", "full", "oracle", "random"] | int = "full",
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
        self.exits = tuple(exits)
        layers = self.pixel_decoder.num_layers
        if not self.exits or sorted(set(self.exits)) != list(self.exits) or self.exits[0] < 1:
            raise ConfigError(f"EcoM2F: exits={list(exits)} must be rising numbers of layers, at least 1")
        if self.exits[-1] > layers:
            raise ConfigError(f"EcoM2F: exit {self.exits[-1]} is deeper than the encoder, which has {layers} layers")
        check_choice("EcoM2F: exit_mode", exit_mode, ("sample", "all", "full"))
        check_choice("EcoM2F: alpha", alpha, _ALPHA)
        self.exit_mode = exit_mode
        self.alpha = _ALPHA[alpha]
        self.train_exit: int | None = None
        self.gate = nn.Linear(self.pixel_decoder.level_embed.shape[1], len(self.exits))
        nn.init.zeros_(self.gate.bias)
        self.gate.requires_grad_(False)  # fitted separately
        self.depth_penalty = depth_penalty
        self.set_policy(policy, histogram)

    def set_policy(self, policy: str | int, histogram: Sequence[float] | None = None) -> None:
        """Set the policy; see the class.

        Raises:
            ConfigError: Unknown policy, an invalid exit, or an invalid histogram.
        """
        if isinstance(policy, int):
            if policy not in self.exits:
                raise ConfigError(f"EcoM2F: policy={policy} is not among the exits {list(self.exits)}")
        elif policy not in ("gate", "full", "oracle", "random"):
            raise ConfigError(f"EcoM2F: policy={policy!r}; expected gate, full, oracle, random or a number of layers")
        if policy == "random" and (histogram is None or len(histogram) != len(self.exits)):
            raise ConfigError(f"EcoM2F: policy='random' needs a histogram with a share for each of {list(self.exits)}")
        self.policy, self.histogram = policy, histogram

    def forward_tensor(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        num_layers: int | Sequence[int] | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the outputs of Mask2Former and "num_layers" (B,); the argument overrides the policy."""
        finest, state, depths = self._encode_by_policy(inputs, data_samples, num_layers)
        return self.outputs(finest, state) | {"num_layers": torch.tensor(depths)}

    def forward_predict(
        self,
        inputs: Tensor,
        data_samples: list[DataSample],
        num_layers: int | Sequence[int] | Tensor | None = None,
    ) -> list[DataSample]:
        """Return the samples as in Mask2Former, with the number of layers in their metainfo."""
        finest, state, depths = self._encode_by_policy(inputs, data_samples, num_layers)
        for sample, depth in zip(self.predict(finest, state, inputs, data_samples), depths, strict=True):
            sample.set_metainfo({"num_layers": depth})
        return data_samples

    def forward_loss(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None, num_layers: int | Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the losses at the exits selected by `exit_mode` or `num_layers`."""
        maps = self.backbone(inputs)
        state = self.pixel_decoder.project(maps)
        return self._training_loss(maps[0], state, self.targets(data_samples, inputs), num_layers)

    def export_graph(self, exit: int | None = None) -> ExportGraph:
        """Return the graph of one exit. Default: that of the policy, if it is a fixed one.

        Raises:
            ConfigError: There is no such exit, or the policy chooses by image.
        """
        if exit is None and self.policy not in ("full", *self.exits):
            raise ConfigError(
                f"EcoM2F: policy={self.policy!r} chooses an exit for each image, and a graph has one: export each of "
                f"the exits {list(self.exits)} with --exit"
            )
        if exit is None and self.policy != "full":
            exit = self.policy
        if exit is not None and exit not in self.exits:
            raise ConfigError(f"EcoM2F: --exit {exit} is not one of the exits {list(self.exits)}")
        return super().export_graph(exit)

    def _encode_by_policy(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None,
        num_layers: int | Sequence[int] | Tensor | None,
    ) -> tuple[Tensor, Tokens, list[int]]:
        """Return the finest map of the backbone, the tokens, and the number of layers of each image."""
        maps = self.backbone(inputs)
        state = self.pixel_decoder.project(maps)
        depths = self.choose(state, data_samples) if num_layers is None else self._spread(num_layers, len(inputs))
        return maps[0], self.pixel_decoder.encode(state, depths), depths

    def gate_features(self, state: Tokens) -> Tensor:
        """Return the gate features (B, dim): the mean over tokens of the coarsest level before the first layer."""
        return state.tokens[:, : state.count(1)].float().mean(1)

    def choose(self, state: Tokens, samples: Sequence[DataSample] | None = None) -> list[int]:
        """Return the number of layers of each image. Reading the gate scores synchronizes with the device once."""
        count = len(state.tokens)
        if isinstance(self.policy, int):
            return self._spread(self.policy, count)
        if self.policy == "full":
            return self._spread(self.pixel_decoder.num_layers, count)
        exits = torch.tensor(self.exits)
        if self.policy == "gate":
            with torch.autocast(state.tokens.device.type, enabled=False):
                scores = self.gate(self.gate_features(state)).log_softmax(1).cpu()
            return exits[(scores - self.depth_penalty * exits).argmax(1)].tolist()
        if self.policy == "random":
            shares = torch.tensor(self.histogram, dtype=torch.float)
            return exits[torch.multinomial(shares, count, replacement=True)].tolist()
        depths = [None if s is None else s.get("best_exit") for s in samples or [None] * count]
        if None in depths:
            raise ConfigError("EcoM2F: policy='oracle' needs data_samples with metainfo best_exit (see derive.py)")
        return [int(depth) for depth in depths]

    def _spread(self, depth: int | Tensor, count: int) -> list[int]:
        depths = depth.tolist() if isinstance(depth, Tensor) else depth
        return [depths] * count if isinstance(depths, int) else list(depths)

    def _training_loss(self, finest: Tensor, state: Tokens, targets: list, num_layers: int | None) -> dict[str, Tensor]:
        last = self.pixel_decoder.num_layers
        if self.exit_mode == "all" and num_layers is None:
            losses: dict[str, Tensor] = {}
            for k, tokens in self.pixel_decoder.walk(state, self.exits):
                share = self.alpha(k) / len(self.exits)
                found = self.loss(finest, tokens, targets)
                scaled = (share * torch.stack(list(found.values()))).unbind()
                losses |= {f"e{k}.{name}": value for name, value in zip(found, scaled, strict=True)}
            return losses
        if num_layers is None:
            num_layers = self.train_exit if self.exit_mode == "sample" and self.train_exit else last
        weight = 1.0 if self.exit_mode == "full" else self.alpha(int(num_layers))
        state = self.pixel_decoder.encode(state, int(num_layers))
        losses = self.loss(finest, state, targets)
        return dict(zip(losses, (weight * torch.stack(list(losses.values()))).unbind(), strict=True))
