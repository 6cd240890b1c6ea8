"""Embeddings of the objects of a batch, padded as the boxes in Targets are."""

from collections.abc import Sequence

import torch
from torch import Tensor

from vislab.errors import ConfigError, DataError
from vislab.structures import DataSample


def collect_embeddings(samples: Sequence[DataSample], dim: int) -> Tensor:
    """Return gt_instances.embeddings of samples as (B, T, dim), padded with zeros; T is the largest number of objects.

    Raises:
        DataError: A sample has no embeddings, or another number of them than of boxes.
        ConfigError: They have other channels than the model.
    """
    parts = []
    for sample in samples:
        name, instances = sample.get("img_path", "a sample"), sample.gt_instances
        if "embeddings" not in instances:
            raise DataError(
                f"{name} has no gt_instances.embeddings: MutDet learns from the pseudo boxes and embeddings of its "
                "first stage; a set with labels is for fine-tuning"
            )
        embeddings = instances.embeddings
        if len(embeddings) != len(instances.labels):
            raise DataError(f"{name} has {len(instances.labels)} boxes and {len(embeddings)} embeddings")
        if embeddings.ndim != 2 or embeddings.shape[1] != dim and len(embeddings):
            raise ConfigError(
                f"the embeddings of {name} have shape {tuple(embeddings.shape)}, the model needs (objects, {dim}): set "
                f"dim of the model, or the number of components of the first stage, to the other value"
            )
        parts.append(embeddings.reshape(-1, dim))
    longest = max(len(part) for part in parts)
    return torch.stack([torch.cat((part, part.new_zeros(longest - len(part), dim))) for part in parts])
