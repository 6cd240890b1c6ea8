"""A codec for machines: a term of the loss with which a frozen network sees decoded frames like the originals."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vislab.errors import ConfigError


@dataclass(frozen=True)
class Task:
    """A frozen network that shall see decoded frames like the originals.

    Args:
        distance: Function of decoded and original images, both (B, 3, H, W) float32 in [0, 1], that returns a scalar
            with gradients for the decoded ones: 0 if the network sees the same.
        measure: Function of the same images that returns what is reported, by name.
        name: Identifies the network and its weights; an encoding can only be resumed with the same one.
        weight: Mean squared error that a distance of 1 may cost.

    Raises:
        ConfigError: The weight is not positive.
    """

    distance: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], dict[str, float]]
    name: str
    weight: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.weight < 1e6:
            raise ConfigError(f"the weight of the task is {self.weight:g}; expected a positive number")

    def loss(self, images: Tensor, originals: Tensor) -> Tensor:
        """Return the weighted distance as a scalar in the unit of the mean squared error."""
        return self.weight * self.distance(images, originals)

    def identity(self) -> list:
        """Return plain data that is equal for equal terms."""
        return [self.name, self.weight]


def mean_measures(task: Task, decoded: Iterable[np.ndarray], originals: Iterable[np.ndarray]) -> dict[str, float]:
    """Return the mean over frames of the measures of a task, for pixels (H, W, 3) uint8."""
    rows = []
    for image, frame in zip(decoded, originals, strict=True):
        with torch.inference_mode():
            rows.append(task.measure(_to_batch(image), _to_batch(frame)))
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _to_batch(pixels: np.ndarray) -> Tensor:
    return torch.tensor(pixels).permute(2, 0, 1)[None].float().div(255)  # (1, 3, H, W)
