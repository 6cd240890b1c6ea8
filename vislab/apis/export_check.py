"""Compare an exported model with the model itself on several inputs."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vislab.errors import ExportError
from vislab.models.export_graph import ExportGraph
from vislab.ops.choices import Shortfall, observe

Run = Callable[[np.ndarray], Sequence[np.ndarray]]  # the exported model: its outputs, then its choices


class Difference(NamedTuple):
    """Largest difference of one output for one input, as a part of the range of the model's output."""

    output: str
    batch: int
    size: tuple[int, int]
    relative: float

    def __str__(self) -> str:
        return f"{self.output} of {self.batch} x {self.size[0]}x{self.size[1]}: {self.relative:.1e}"


def check_runs(
    graph: ExportGraph, run: Run, cases: Sequence[tuple[int, tuple[int, int]]], tolerance: float
) -> list[Difference]:
    """Return the differences between an exported model and the model for random inputs.

    Choices of the exported model (see ops/choices.py) are taken over by the model, after their scores were found as
    good as those of its own ones up to the tolerance.

    Args:
        graph: The model.
        run: The exported model.
        cases: Batch size and (height, width) of each input.
        tolerance: Largest allowed difference, as a part of the range of an output.

    Raises:
        ExportError: A difference exceeds the tolerance; shapes, types or integers differ; values are not finite.
    """
    differences = []
    for seed, (batch, size) in enumerate(cases):
        inputs = graph.example(batch, size, seed)
        found = [torch.from_numpy(np.array(value)) for value in run(inputs.numpy())]
        outputs, choices = found[: len(graph.outputs)], found[len(graph.outputs) :]
        replay = _Replay(choices, tolerance)
        with torch.inference_mode(), observe(replay):
            expected = graph(inputs)
        replay.finish()
        for name, own, other in zip(graph.outputs, expected, outputs, strict=True):
            differences.append(Difference(name, batch, size, _difference(name, own, other)))
    wrong = [difference for difference in differences if not difference.relative <= tolerance]  # NaN too
    if wrong:
        raise ExportError(
            f"the exported model differs from the model: {wrong[0]} of the range of this output, allowed are "
            f"{tolerance:g}. Nothing was written"
        )
    return differences


class _Replay:
    """Observer that replaces choices by given ones, in order."""

    def __init__(self, choices: Sequence[Tensor], tolerance: float) -> None:
        self.choices, self.tolerance, self.used = choices, tolerance, 0

    def __call__(self, choice: Tensor, shortfall: Shortfall) -> Tensor:
        other = self.choices[self.used] if self.used < len(self.choices) else None
        if other is None or other.shape != choice.shape or other.dtype != choice.dtype:
            raise ExportError(f"the exported model lacks the choice {self.used} of the model. Nothing was written")
        self.used += 1
        worse = float(shortfall(other))
        if not worse <= self.tolerance:
            raise ExportError(
                f"the exported model makes another choice (number {self.used}) than the model, worse by {worse:.1e} of "
                f"the range of the scores; allowed are {self.tolerance:g}. Nothing was written"
            )
        return other

    def finish(self) -> None:
        if self.used != len(self.choices):
            raise ExportError(f"the exported model has {len(self.choices)} choices, the model {self.used}")


def _difference(name: str, own: Tensor, other: Tensor) -> float:
    """Return the largest difference as a part of the range, 0 for equal integers."""
    if own.shape != other.shape or own.dtype != other.dtype:
        raise ExportError(
            f"{name} is {tuple(other.shape)} {other.dtype} in the exported model, {tuple(own.shape)} {own.dtype} in "
            "the model. Nothing was written"
        )
    if not own.dtype.is_floating_point:
        return 0.0 if bool((own == other).all()) else float("inf")
    if not bool(own.isfinite().all()):
        raise ExportError(f"{name} of the model is not finite: the weights are damaged, or training diverged")
    own, other = own.double(), other.double()
    scale = float(own.max() - own.min()) or float(own.abs().max()) or 1.0
    return float((own - other).abs().max()) / scale
