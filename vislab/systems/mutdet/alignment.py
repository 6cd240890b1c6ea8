"""Losses between the embeddings of matched queries and those of their objects."""

from typing import Literal

import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor, nn
from torch.nn import functional as F

from vislab.errors import ConfigError, check_choice
from vislab.models.deformable_detr.refinement import wide
from vislab.registry import MODELS


@MODELS.register_module()
class ContrastiveAlignment(nn.Module):
    """Symmetric contrastive loss: each query must find its object among those of all images of the batch.

    For unit vectors z and o of N pairs, it is 2 t (CE(z o' / t) + CE(o z' / t)), where pair i is the class of row i,
    averaged over the pairs (MutDet, section 3.3). It is 4 t ln N if all embeddings are equal. Both sides get gradients.

    Args:
        weight: Factor.
        temperature: t.
        gather: Compare with the pairs of all processes too, whose embeddings have no gradient. The published loss uses
            those of one process. This waits for the number of pairs of each process.
    """

    def __init__(self, *, weight: float = 1.0, temperature: float = 0.2, gather: bool = False) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"ContrastiveAlignment: temperature={temperature} must be positive")
        self.weight, self.temperature, self.gather = weight, temperature, gather

    def forward(self, queries: Tensor, objects: Tensor) -> Tensor:
        """Return the loss of pairs (N, dim) and (N, dim), a scalar in float32 or float64; 0 without pairs."""
        with torch.autocast(queries.device.type, enabled=False):
            z, o = (F.normalize(wide(x), dim=-1) for x in (queries, objects))
            all_z, all_o = z, o
            if self.gather and get_world_size() > 1:
                all_z, all_o = (torch.cat((own, _of_others(own))) for own in (z, o))
            if not len(z):
                return 0 * (z.sum() + o.sum())
            own = torch.arange(len(z), device=z.device)
            losses = (F.cross_entropy(a @ b.T / self.temperature, own) for a, b in ((z, all_o), (o, all_z)))
            return self.weight * 2 * self.temperature * sum(losses)


@MODELS.register_module()
class EmbeddingRegression(nn.Module):
    """Distance of unit vectors, summed over the channels and averaged over the pairs (DETReg; UP-DETR).

    Args:
        weight: Factor.
        distance: "l1" or "mse".
    """

    def __init__(self, *, weight: float = 1.0, distance: Literal["l1", "mse"] = "l1") -> None:
        super().__init__()
        check_choice("EmbeddingRegression: distance", distance, ("l1", "mse"))
        self.weight, self.distance = weight, distance

    def forward(self, queries: Tensor, objects: Tensor) -> Tensor:
        """Return the loss of pairs (N, dim) and (N, dim), a scalar in float32 or float64; 0 without pairs."""
        with torch.autocast(queries.device.type, enabled=False):
            z, o = (F.normalize(wide(x), dim=-1) for x in (queries, objects))
            if not len(z):
                return 0 * (z.sum() + o.sum())
            difference = (z - o).abs() if self.distance == "l1" else (z - o).square()
            return self.weight * difference.sum(-1).mean()


def _of_others(rows: Tensor) -> Tensor:
    """Return the rows (N, dim) of all other processes, without gradient."""
    counts = torch.stack(all_gather(torch.tensor(len(rows), device=rows.device))).tolist()
    padded = torch.cat((rows.detach(), rows.new_zeros(max(counts) - len(rows), rows.shape[1])))
    parts = [part[:count] for part, count in zip(all_gather(padded), counts, strict=True)]
    del parts[get_rank()]
    return torch.cat(parts)
