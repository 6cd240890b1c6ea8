"""Classification losses on logits, with class indices or soft targets (mixup)."""

from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError
from vislab.registry import MODELS


@MODELS.register_module()
class CrossEntropy(nn.Module):
    """Mean cross-entropy.

    Args:
        label_smoothing: Share of the target distributed evenly over all classes, in [0, 1).
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = _check_smoothing(label_smoothing)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a float32 scalar, of logits (B, C) and a target (B,) int64 or (B, C) probabilities."""
        return F.cross_entropy(logits.float(), target, label_smoothing=self.label_smoothing)


@MODELS.register_module()
class BinaryCrossEntropy(nn.Module):
    """Binary cross-entropy with each class as an independent decision (DeiT-III), mean over images and classes.

    Args:
        label_smoothing: As in CrossEntropy.
    """

    def __init__(self, *, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.label_smoothing = _check_smoothing(label_smoothing)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss, a float32 scalar, of logits (B, C) and a target (B,) int64 or (B, C) probabilities."""
        classes = logits.shape[1]
        target = F.one_hot(target, classes) if target.ndim == 1 else target
        target = target.float() * (1 - self.label_smoothing) + self.label_smoothing / classes
        return F.binary_cross_entropy_with_logits(logits.float(), target)


def _check_smoothing(value: float) -> float:
    if not 0 <= value < 1:
        raise ConfigError(f"label_smoothing={value!r} is not in [0, 1)")
    return value
