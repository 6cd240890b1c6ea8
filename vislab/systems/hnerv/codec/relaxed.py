"""A network that is trained as it will be stored: rounded weights and embeddings, and their bits, both differentiable.

The value of a weight is step * round(w / step). Its bits are interpolated between the costs of neighboring integers in
the tables that code the file (`TensorCosts`). Rounding is soft with noise at first, then hard with straight-through
gradients, as in C3 (Kim et al., CVPR 2024).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from vislab.systems.hnerv.codec.content import Quantized, Segment
from vislab.systems.hnerv.codec.entropy import Model, fit_model
from vislab.systems.hnerv.codec.spec import DecoderSpec
from vislab.systems.hnerv.model import HNeRVDecoder


def soft_round(x: Tensor, temperature: float) -> Tensor:
    """Round softly: from the identity at a high temperature to rounding at 0; integers and their halves are exact."""
    low = x.floor()
    middle = x - low - 0.5
    return low + 0.5 + 0.5 * torch.tanh(middle / temperature) / np.tanh(0.5 / temperature)


def noisy_round(x: Tensor, temperature: float, noise: float, generator: torch.Generator | None = None) -> Tensor:
    """Round softly, add Gaussian noise of standard deviation `noise`, and round softly: differentiable rounding."""
    drawn = torch.empty_like(x, requires_grad=False).normal_(0, noise, generator=generator)
    return soft_round(soft_round(x, temperature) + drawn, temperature)


def straight_through(x: Tensor) -> Tensor:
    """Round to the nearest integer with the gradient of the identity."""
    return x + (x.round() - x).detach()


class TensorCosts:
    """Bits of the integers of one tensor under an entropy model, interpolated linearly between integers.

    Beyond the symbols of the model, costs grow by those of a factor 2 in frequency per symbol.

    Args:
        model: The entropy model.
        shape: Shape of the tensor.
        margin: Integers beyond the symbols of the model on both sides.
    """

    def __init__(self, model: Model, shape: Sequence[int], margin: int = 64):
        tables = model.tables
        inside = np.stack([t.costs for t in tables])  # (groups, levels)
        steps = np.arange(1, margin + 1)
        left = inside[:, :1] + steps[::-1]
        right = inside[:, -1:] + steps
        costs = np.concatenate([left, inside, right], axis=1)
        self.costs = torch.from_numpy(costs).float()  # (groups, levels + 2 margin)
        self.first = tables[0].first - margin
        self.rows: Tensor | None = None
        if len(tables) > 1:
            view = [1] * len(shape)
            view[model.axis] = shape[model.axis]
            self.rows = (torch.arange(len(tables)) * costs.shape[1]).view(view)

    def bits(self, x: Tensor) -> Tensor:
        """Return the sum of the interpolated costs of x in steps."""
        width = self.costs.shape[1]
        x = (x - self.first).clamp(0, width - 1.001)
        low = x.detach().floor()
        index = low.long() if self.rows is None else low.long() + self.rows
        flat = self.costs.flatten()
        below, above = flat[index], flat[index + 1]
        return (below + (x - low) * (above - below)).sum()


class SegmentCosts:
    """Bits of a segment under given entropy models.

    Args:
        segment: The rounded segment.
        models: Models of the weights, of the embeddings of first frames, and of differences; fitted if None.
    """

    def __init__(self, segment: Segment, models: Sequence[Model] | None = None):
        self.section = segment.section
        parts = differences(torch.from_numpy(segment.embeddings.symbols), self.section)
        embeddings = [part.numpy() for part in parts if len(part)]
        tensors = [*(tensor.symbols for tensor in segment.weights.values()), *embeddings]
        if models is None:
            axes = [range(t.symbols.ndim) if t.symbols.ndim > 1 else () for t in segment.weights.values()]
            axes += [(1,)] * len(embeddings)  # as writer.py does
            models = [fit_model(symbols, along) for symbols, along in zip(tensors, axes, strict=True)]
        self.models = list(models)
        self.costs = [TensorCosts(m, symbols.shape) for m, symbols in zip(models, tensors, strict=True)]

    def exact_bits(self, segment: Segment) -> float:
        """Return the bits of a rounded segment with the bytes of the models, without headers, steps and checksums."""
        parts = differences(torch.from_numpy(segment.embeddings.symbols), self.section)
        tensors = [*(tensor.symbols for tensor in segment.weights.values()), *(p.numpy() for p in parts if len(p))]
        return sum(m.bits(symbols) + 8 * len(m.pack()) for m, symbols in zip(self.models, tensors, strict=True))

    def bits(self, weights: Sequence[Tensor], embeddings: Tensor) -> Tensor:
        """Return the bits of weights and embeddings (T, d, h, w) in steps, differentiable."""
        parts = [part for part in differences(embeddings, self.section) if len(part)]
        return sum(costs.bits(x) for costs, x in zip(self.costs, (*weights, *parts), strict=True))


def differences(embeddings: Tensor, section: int) -> tuple[Tensor, Tensor]:
    """Return the embeddings of the first frame of each section, and the differences of the others to the one before."""
    starts = torch.arange(len(embeddings)) % section == 0
    later = embeddings[1:] - embeddings[:-1]
    return embeddings[starts], later[~starts[1:]]


class RelaxedSegment(nn.Module):
    """Decoder and embeddings with learned steps.

    Args:
        decoder: A trained decoder; its weights are copied.
        embeddings: Embeddings of all frames (T, d, h, w).
        steps: Initial step of each weight, by name; a scalar ().
        embedding_steps: Initial steps (1, d, 1, 1).
        section: Frames per section of the file; the first frame of each is not coded as a difference.
    """

    def __init__(
        self,
        decoder: HNeRVDecoder,
        embeddings: Tensor,
        steps: Mapping[str, Tensor],
        embedding_steps: Tensor,
        section: int = 64,
    ):
        super().__init__()
        self.spec = DecoderSpec.of(decoder)
        self.section = section
        self.skeleton = [self.spec.network()]  # in a list, so that its parameters are not this module's
        state = decoder.state_dict()
        self.names = list(self.spec.weight_shapes())
        self.weights = nn.ParameterList(
            state[n].detach().float().clone(memory_format=torch.preserve_format) for n in self.names
        )
        self.embeddings = nn.Parameter(embeddings.detach().float().clone())
        self.log_steps = nn.ParameterList(steps[n].detach().float().log() for n in self.names)
        self.log_embedding_steps = nn.Parameter(embedding_steps.detach().float().log())

    def steps(self) -> list[Tensor]:
        """Return the steps of the weights in the precision of the file."""
        return [_half(steps) for steps in self.log_steps]

    def embedding_steps(self) -> Tensor:
        """Return the steps of the embeddings (1, d, 1, 1) in the precision of the file."""
        return _half(self.log_embedding_steps)

    def scaled(self) -> tuple[list[Tensor], Tensor]:
        """Return weights and embeddings in steps, not rounded."""
        steps = self.steps()
        return [w / s for w, s in zip(self.weights, steps, strict=True)], self.embeddings / self.embedding_steps()

    def decode(self, weights: Sequence[Tensor], embeddings: Tensor) -> Tensor:
        """Decode embeddings (B, d, h, w) in steps with weights in steps; returns (B, 3, H, W)."""
        steps = self.steps()
        state = {n: w * s for n, w, s in zip(self.names, weights, steps, strict=True)}
        values = (embeddings * self.embedding_steps()).contiguous(memory_format=torch.channels_last)
        return functional_call(self.skeleton[0], state, (values,))

    @torch.no_grad()
    def segment(self, threshold: float = 0.5, coarser: float = 1.0) -> Segment:
        """Return the rounded network and embeddings as content of a file.

        Args:
            threshold: Fraction from which on weights are rounded up in size; above 0.5, they get smaller and cheaper.
            coarser: Factor on all steps.
        """
        weights, embeddings = self.scaled()
        if threshold != 0.5:
            weights = [w.sign() * (w.abs() + 1 - threshold).floor() for w in weights]
        if coarser != 1:
            steps = [(s * coarser).half().float() for s in (*self.steps(), self.embedding_steps())]
            weights = [w / s for w, s in zip(self.weights, steps, strict=False)]
            quantized = {n: _quantized(w, s) for n, w, s in zip(self.names, weights, steps, strict=False)}
            return Segment(self.spec, quantized, _quantized(self.embeddings / steps[-1], steps[-1]), self.section)
        quantized = {n: _quantized(w, s) for n, w, s in zip(self.names, weights, self.steps(), strict=True)}
        return Segment(self.spec, quantized, _quantized(embeddings, self.embedding_steps()), self.section)


def _half(log_steps: Tensor) -> Tensor:
    steps = log_steps.clamp(-9.0, 9.0).exp()  # normal numbers of float16
    return steps + (steps.half().float() - steps).detach()


def _quantized(scaled: Tensor, step: Tensor) -> Quantized:
    symbols = scaled.detach().round().clamp(-(1 << 15), (1 << 15) - 1)
    return Quantized(symbols.int().contiguous().numpy(), step.detach().numpy().astype(np.float16))
