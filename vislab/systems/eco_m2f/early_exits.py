"""Early exits of an encoder, and their choice for each image by a gate: what EcoM2F and EcoDETR share."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError, check_choice
from vislab.layers.layer_stack import EncoderState
from vislab.models.base import VisionModel
from vislab.models.export_graph import ExportGraph
from vislab.structures import DataSample

Alpha = Literal["constant", "linear", "quadratic"]
ExitMode = Literal["sample", "all", "full"]
Policy = Literal["gate", "full", "oracle", "random"] | int

_ALPHA = {"constant": lambda k: 1.0, "linear": float, "quadratic": lambda k: k * k / 10}


class EarlyExits(VisionModel):
    """Base class of models whose encoder stops after a number of layers that depends on the image.

    It stands before the class of the model without exits among the bases, and replaces its modes. That class defines
    `targets(samples, inputs)` and, from the context of `start` and the output of the encoder, `outputs(context,
    encoded)`, `loss(context, encoded, targets)` and `predict(context, encoded, inputs, samples)`. Subclasses define
    `start`, `encode_layers`, `walk` and `gate_features`.

    In training (step A), the loss at exit k is weighted with alpha(k). With `exit_mode="sample"`, k is `train_exit`,
    which is set by SampleExitHook in each optimizer step (without the hook: all layers); "all" trains all exits in each
    step, and "full" the last one only. The gate is fitted afterwards with `gate.fit_gate`.

    Attributes:
        exits: Numbers of layers after which the encoder may stop, increasing.
        gate: Linear layer from gate features to a score of each exit, without gradient.
        depth_penalty: The gate selects argmax(log p - depth_penalty * k).
        train_exit: Exit of the current training step with exit_mode="sample". None: all layers.
        find_unused_parameters: True for distributed training, since layers after the sampled exit and the gate have no
            gradient.
    """

    find_unused_parameters = True

    def add_exits(
        self,
        *,
        num_layers: int,
        dim: int,
        exits: Sequence[int],
        exit_mode: ExitMode,
        alpha: Alpha,
        policy: Policy,
        depth_penalty: float,
        histogram: Sequence[float] | None,
    ) -> None:
        """Add the exits and the gate, whose features have `dim` channels, to an encoder of `num_layers` layers.

        Raises:
            ConfigError: An invalid exit, mode, policy or histogram.
        """
        name = type(self).__name__
        self.exits = tuple(exits)
        if not self.exits or sorted(set(self.exits)) != list(self.exits) or self.exits[0] < 1:
            raise ConfigError(f"{name}: exits={list(exits)} must be rising numbers of layers, at least 1")
        if self.exits[-1] > num_layers:
            raise ConfigError(
                f"{name}: exit {self.exits[-1]} is deeper than the encoder, which has {num_layers} layers"
            )
        check_choice(f"{name}: exit_mode", exit_mode, ("sample", "all", "full"))
        check_choice(f"{name}: alpha", alpha, _ALPHA)
        self.exit_mode = exit_mode
        self.alpha = _ALPHA[alpha]
        self.train_exit: int | None = None
        self.num_layers = num_layers
        self.gate = nn.Linear(dim, len(self.exits))
        nn.init.zeros_(self.gate.bias)
        self.gate.requires_grad_(False)  # fitted separately
        self.depth_penalty = depth_penalty
        self.set_policy(policy, histogram)

    def start(self, inputs: Tensor, samples: Sequence[DataSample] | None) -> tuple[Any, EncoderState]:
        """Return what the decoder needs beside the output of the encoder, and the state before the first layer."""
        raise NotImplementedError

    def encode_layers(self, state: EncoderState, num_layers: int | Sequence[int]) -> Any:
        """Return the output of the encoder after `num_layers` layers, one number for the batch or one per image."""
        raise NotImplementedError

    def walk(self, state: EncoderState, exits: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yield (k, output of the encoder after k layers), in increasing order; each layer runs once."""
        raise NotImplementedError

    def gate_features(self, state: EncoderState) -> Tensor:
        """Return the gate features (B, dim) of the tokens before the first layer."""
        raise NotImplementedError

    def forward_tensor(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        num_layers: int | Sequence[int] | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the outputs of the model and "num_layers" (B,); the argument overrides the policy."""
        context, state = self.start(inputs, data_samples)
        depths = self.depths(state, data_samples, num_layers)
        return self.outputs(context, self.encode_layers(state, depths)) | {"num_layers": torch.tensor(depths)}

    def forward_predict(
        self,
        inputs: Tensor,
        data_samples: list[DataSample],
        num_layers: int | Sequence[int] | Tensor | None = None,
    ) -> list[DataSample]:
        """Return the samples with predictions, and with the number of layers in their metainfo."""
        context, state = self.start(inputs, data_samples)
        depths = self.depths(state, data_samples, num_layers)
        samples = self.predict(context, self.encode_layers(state, depths), inputs, data_samples)
        for sample, depth in zip(samples, depths, strict=True):
            sample.set_metainfo({"num_layers": depth})
        return samples

    def forward_loss(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None, num_layers: int | Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the weighted losses at the exits selected by `exit_mode`, or at `num_layers`."""
        targets = self.targets(data_samples, inputs)
        context, state = self.start(inputs, data_samples)
        if self.exit_mode == "all" and num_layers is None:
            losses: dict[str, Tensor] = {}
            for k, encoded in self.walk(state, self.exits):
                scaled = _scale(self.loss(context, encoded, targets), self.alpha(k) / len(self.exits))
                losses |= {f"e{k}.{name}": value for name, value in scaled.items()}
            return losses
        if num_layers is None:
            num_layers = self.train_exit if self.exit_mode == "sample" and self.train_exit else self.num_layers
        weight = 1.0 if self.exit_mode == "full" else self.alpha(int(num_layers))
        return _scale(self.loss(context, self.encode_layers(state, int(num_layers)), targets), weight)

    def predict_exits(self, inputs: Tensor, samples: list[DataSample]) -> tuple[Tensor, Iterator[list[DataSample]]]:
        """Return the gate features (B, dim), and an iterator over the exits: copies of the samples with predictions.

        The backbone and each encoder layer run once.
        """
        context, state = self.start(inputs, samples)
        predicted = (
            self.predict(context, encoded, inputs, [s.clone() for s in samples])
            for _, encoded in self.walk(state, self.exits)
        )
        return self.gate_features(state), predicted

    def export_graph(self, exit: int | None = None) -> ExportGraph:
        """Return the graph of one exit. Default: that of the policy.

        Raises:
            ConfigError: There is no such exit, or the policy chooses by image.
        """
        name = type(self).__name__
        if exit is None and self.policy not in ("full", *self.exits):
            raise ConfigError(
                f"{name}: policy={self.policy!r} chooses an exit for each image, and a graph has one: export each of "
                f"the exits {list(self.exits)} with --exit"
            )
        if exit is None and self.policy != "full":
            exit = self.policy
        if exit is not None and exit not in self.exits:
            raise ConfigError(f"{name}: --exit {exit} is not one of the exits {list(self.exits)}")
        return super().export_graph(exit)

    def set_policy(self, policy: Policy, histogram: Sequence[float] | None = None) -> None:
        """Set how exits are selected in modes "predict" and "tensor".

        Args:
            policy: "gate"; a fixed exit; "full" for all layers; "oracle" for the metainfo `best_exit` of the sample;
                "random" with the probabilities `histogram`.
            histogram: Probabilities of the exits for "random".

        Raises:
            ConfigError: Unknown policy, an invalid exit, or an invalid histogram.
        """
        name = type(self).__name__
        if isinstance(policy, int):
            if policy not in self.exits:
                raise ConfigError(f"{name}: policy={policy} is not among the exits {list(self.exits)}")
        elif policy not in ("gate", "full", "oracle", "random"):
            raise ConfigError(f"{name}: policy={policy!r}; expected gate, full, oracle, random or a number of layers")
        if policy == "random" and (histogram is None or len(histogram) != len(self.exits)):
            raise ConfigError(f"{name}: policy='random' needs a histogram with a share for each of {list(self.exits)}")
        self.policy, self.histogram = policy, histogram

    def choose(self, state: EncoderState, samples: Sequence[DataSample] | None = None) -> list[int]:
        """Return the number of layers of each image. Reading the gate scores synchronizes with the device once."""
        count = len(state.tokens)
        if isinstance(self.policy, int):
            return [self.policy] * count
        if self.policy == "full":
            return [self.num_layers] * count
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
            raise ConfigError(
                f"{type(self).__name__}: policy='oracle' needs data_samples with metainfo best_exit (see derive.py)"
            )
        return [int(depth) for depth in depths]

    def depths(
        self,
        state: EncoderState,
        samples: Sequence[DataSample] | None,
        num_layers: int | Sequence[int] | Tensor | None,
    ) -> list[int]:
        """Return the number of layers of each image: `num_layers`, or what the policy selects."""
        if num_layers is None:
            return self.choose(state, samples)
        given = num_layers.tolist() if isinstance(num_layers, Tensor) else num_layers
        return [given] * len(state.tokens) if isinstance(given, int) else list(given)


def _scale(losses: dict[str, Any], factor: float) -> dict[str, Tensor]:
    return dict(zip(losses, (factor * torch.stack(list(losses.values()))).unbind(), strict=True))
