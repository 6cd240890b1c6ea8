"""No model predicts from numbers that are none: a class, a mask or a depth made of NaN looks like any other."""

from torch import Tensor

from vislab.errors import TrainingError


def require_finite(output: Tensor, name: str) -> Tensor:
    """`output`, if all of it is finite.

    Raises:
        TrainingError: it is not; `name` says what it is.
    """
    if not bool(output.isfinite().all()):
        bad = output.numel() - int(output.isfinite().sum())
        raise TrainingError(
            f"{bad} of {output.numel()} {name} are not finite: the weights are damaged or training diverged; take an "
            "earlier checkpoint, and in float16 try bfloat16 or float32"
        )
    return output
