"""Multiply-accumulates of ECO-M2F exits: analytic for encoder layers, counted by torch for the rest of the model.

Sampling in deformable attention is not counted by default, and norms count as five operations per element, as in the
published results.
"""

from collections.abc import Sequence

import torch
from torch import nn

from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.models.mask2former import Mask2Former
from vislab.models.mask2former.model import mask_logits


def layer_macs(layer: DeformableEncoderLayer, height: int, width: int, *, sampling: bool = False) -> int:
    """Return the multiply-accumulates of an encoder layer for an image of height x width pixels.

    With `sampling`, those of bilinear sampling with four corners per point are included.
    """
    tokens = sum(-(-height // s) * -(-width // s) for s in (32, 16, 8)[: layer.num_levels])
    linears = sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Linear))
    norms = sum(5 * m.weight.numel() for m in layer.modules() if isinstance(m, nn.LayerNorm))
    attention = layer.self_attn
    points = 4 * attention.num_levels * attention.num_points * attention.value_proj.out_features
    return tokens * (linears + norms + (points if sampling else 0))


@torch.no_grad()
def exit_costs(
    model: Mask2Former, height: int, width: int, exits: Sequence[int], *, sampling: bool = False
) -> dict[int, float]:
    """Return the GMACs of the whole model for each exit, for an image of height x width pixels.

    The parts shared by all exits, from the backbone to the masks of the last output at stride 4, are counted by torch's
    FLOP counter.
    """
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    image = torch.zeros(1, 3, height, width, device=device)
    with FlopCounterMode(display=False) as counter:
        maps = model.backbone(image)
        state = model.pixel_decoder.project(maps)
        _, embeddings, features = model.decode(maps[0], state)
        mask_logits(embeddings[-1], features)
    model.train(training)
    shared = counter.get_total_flops() / 2
    total = {}
    for k in exits:
        layers = sum(layer_macs(layer, height, width, sampling=sampling) for layer in model.pixel_decoder.layers[:k])
        total[k] = (shared + layers) / 1e9
    return total
