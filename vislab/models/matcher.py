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
    device = costs[0].device
    flat = torch.cat([cost.detach().flatten().float() for cost in costs]).cpu().numpy()  # the one copy
    if not np.isfinite(flat).all():
        bad = int((~np.isfinite(flat)).sum())
        raise TrainingError(
            f"{bad} of {flat.size} matching costs are not finite: the model's outputs are NaN or infinite. Lower the "
            "learning rate, clip gradients, or train in float32 instead of float16"
        )
    pairs, start = [], 0
    for cost in costs:
        matrix = flat[start : start + cost.numel()].reshape(cost.shape)
        start += cost.numel()
        pairs.append(np.stack(linear_sum_assignment(matrix)))
    joined = torch.from_numpy(np.concatenate(pairs, axis=1)).to(device)  # and one back
    return [(p[0], p[1]) for p in joined.split([p.shape[1] for p in pairs], dim=1)]
