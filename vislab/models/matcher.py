"""One-to-one assignment of predictions to labels, shared by all set-prediction models.

Costs are the model's own; here is what they have in common: they arrive as device tensors of one step, leave the device
in one copy, are checked, and are solved by SciPy.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vislab.errors import TrainingError


def match(costs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Solve many assignment problems.

    Args:
        costs: (Q, T) float tensors; Q and T may differ between them, and be 0.

    Returns:
        For each, the rows and columns of min(Q, T) pairs with the least sum, int64 on the costs' device, by rising row.

    Raises:
        TrainingError: a cost is not finite.
    """
    if not costs:
        return []
    return assign(fetch(costs), costs[0].device)


def fetch(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Tensors of one device as float32 arrays of the host, in one copy: the only one that a training step waits for."""
    flat = torch.cat([x.detach().flatten().float() for x in tensors]).cpu().numpy()
    stops = np.cumsum([x.numel() for x in tensors])[:-1]
    return [part.reshape(x.shape) for part, x in zip(np.split(flat, stops), tensors, strict=True)]


def assign(costs: Sequence[np.ndarray], device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """As `match`, for costs that are on the host already; the pairs go to `device`."""
    bad = sum(int((~np.isfinite(cost)).sum()) for cost in costs)
    if bad:
        raise TrainingError(
            f"{bad} of {sum(cost.size for cost in costs)} matching costs are not finite: the model's outputs are NaN "
            "or infinite. Lower the learning rate, clip gradients, or train in float32 instead of float16"
        )
    pairs = [np.stack(linear_sum_assignment(cost)) for cost in costs]
    joined = torch.from_numpy(np.concatenate(pairs, axis=1)).to(device, non_blocking=True)
    return [(p[0], p[1]) for p in joined.split([p.shape[1] for p in pairs], dim=1)]
