"""Check that model outputs are finite before predictions are computed from them."""

from torch import Tensor

from vislab.errors import TrainingError


def require_finite(output: Tensor, name: str) -> Tensor:
    """Return `output`.

    Raises:
        TrainingError: `output` has non-finite values; `name` is its name in the message.
    """
    if not bool(output.isfinite().all()):
        bad = output.numel() - int(output.isfinite().sum())
        raise TrainingError(
            f"{bad} of {output.numel()} {name} are not finite: the weights are damaged or training diverged; take an "
            "earlier checkpoint, and in float16 try bfloat16 or float32"
        )
    return output
