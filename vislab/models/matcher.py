"""Bipartite matching of predictions and labels for set prediction models.

Models compute the costs; all cost matrices of a step are copied from the device together, checked, and solved with
SciPy.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from vislab.errors import TrainingError


def match(costs: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Solve linear sum assignment problems.

    Args:
        costs: Cost matrices (Q, T); Q and T may differ between them, and may be 0.

    Returns:
        Rows and columns of the min(Q, T) pairs with minimum total cost of each matrix, int64 on the device of the
        costs, sorted by row.

    Raises:
        TrainingError: A cost is not finite.
    """
    if not costs:
        return []
    pairs = [np.stack(pair) for pair in assign(fetch(costs))]
    joined = torch.from_numpy(np.concatenate(pairs, axis=1)).to(costs[0].device, non_blocking=True)
    return [(p[0], p[1]) for p in joined.split([p.shape[1] for p in pairs], dim=1)]


def fetch(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Copy tensors of one device to float32 NumPy arrays in a single transfer, the only synchronization of a step."""
    flat = torch.cat([x.detach().flatten().float() for x in tensors]).cpu().numpy()
    stops = np.cumsum([x.numel() for x in tensors])[:-1]
    return [part.reshape(x.shape) for part, x in zip(np.split(flat, stops), tensors, strict=True)]


def assign(costs: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Solve the assignment problems of `match` for costs on the host; returns rows and columns of each."""
    bad = sum(int((~np.isfinite(cost)).sum()) for cost in costs)
    if bad:
        raise TrainingError(
            f"{bad} of {sum(cost.size for cost in costs)} matching costs are not finite: the model's outputs are NaN "
            "or infinite. Lower the learning rate, clip gradients, or train in float32 instead of float16"
        )
    return [linear_sum_assignment(cost) for cost in costs]
