"""Embeddings of the objects of a batch, given with the samples or computed from crops, padded as boxes in Targets."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vislab.errors import ConfigError, DataError
from vislab.models.deformable_detr.targets import Targets
from vislab.structures import DataSample
from vislab.systems.mutdet.crops import rotated_crops


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


@torch.no_grad()
def embed_crops(backbone: nn.Module, inputs: Tensor, targets: Targets, size: int) -> Tensor:
    """Return the average of the backbone's last map for a crop of each object, (B, T, channels), padded with zeros.

    Args:
        backbone: Encoder, which is not trained.
        inputs: Preprocessed images (B, 3, H, W).
        targets: Boxes of the objects.
        size: Side of the crops, to which the boxes are warped.
    """
    boxes = targets.boxes * targets.sizes.repeat(1, 2)[:, None]  # (B, T, 4), pixels
    theta = torch.zeros_like(boxes[..., 0]) if targets.theta is None else targets.theta
    rboxes = torch.cat((boxes, theta[..., None]), dim=-1)
    if not any(targets.counts):
        return inputs.new_zeros(len(inputs), 0, backbone.channels[-1])
    crops = [
        rotated_crops(inputs[i : i + 1], rboxes[i, :count], size=size, enlarge=1.0)
        for i, count in enumerate(targets.counts)
    ]
    features = backbone(torch.cat(crops))[-1].mean(dim=(2, 3))
    return pad_sequence(features.split(targets.counts), batch_first=True)
