"""Multiply-accumulates of exits: analytic for encoder layers, counted by torch for the rest of the model.

Sampling in deformable attention is not counted by default, and norms count as five operations per element, as in the
published results.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vislab.errors import ConfigError
from vislab.layers.deformable_attention import DeformableEncoderLayer
from vislab.models.deformable_detr import DeformableDETR
from vislab.models.mask2former import Mask2Former
from vislab.models.mask2former.model import mask_logits

Shapes = Sequence[tuple[int, int]]


def layer_macs(layer: DeformableEncoderLayer, shapes: Shapes, *, sampling: bool = False) -> int:
    """Return the multiply-accumulates of an encoder layer on levels of the shapes (height, width).

    With `sampling`, those of bilinear sampling with four corners per point are included.
    """
    tokens = sum(math.prod(shape) for shape in shapes[: layer.num_levels])
    linears = sum(m.weight.numel() for m in layer.modules() if isinstance(m, nn.Linear))
    norms = sum(5 * m.weight.numel() for m in layer.modules() if isinstance(m, nn.LayerNorm))
    attention = layer.self_attn
    points = 4 * attention.num_levels * attention.num_points * attention.value_proj.out_features
    return tokens * (linears + norms + (points if sampling else 0))


@torch.no_grad()
def exit_costs(
    model: Mask2Former | DeformableDETR, height: int, width: int, exits: Sequence[int], *, sampling: bool = False
) -> dict[int, float]:
    """Return the GMACs of the whole model for each exit, for an image of height x width pixels.

    The parts shared by all exits, from the backbone to the masks of the last output at stride 4 or to the boxes, are
    counted by torch's FLOP counter.

    Raises:
        ConfigError: The model has no such encoder.
    """
    from torch.utils.flop_counter import FlopCounterMode

    if not isinstance(model, (Mask2Former, DeformableDETR)):
        raise ConfigError(f"exit_costs: {type(model).__name__} has no encoder that can stop early")
    run = _without_layers if isinstance(model, Mask2Former) else _detect_without_layers
    layers = model.pixel_decoder.layers if isinstance(model, Mask2Former) else model.encoder.layers
    training, trained = model.training, [p for p in model.parameters() if p.requires_grad]
    model.eval().requires_grad_(False)  # the counter fails on parameters that are inputs of modules
    image = torch.zeros(1, 3, height, width, device=next(model.parameters()).device)
    try:
        with FlopCounterMode(display=False) as counter:
            shapes = run(model, image)
    finally:
        model.train(training)
        for parameter in trained:
            parameter.requires_grad_(True)
    shared = counter.get_total_flops() / 2
    each = [layer_macs(layer, shapes, sampling=sampling) for layer in layers]
    return {k: (shared + sum(each[:k])) / 1e9 for k in exits}


def _without_layers(model: Mask2Former, image: Tensor) -> Shapes:
    """Run a Mask2Former without its encoder layers; returns the shapes of the levels."""
    maps = model.backbone(image)
    state = model.pixel_decoder.project(maps)
    _, embeddings, features = model.decode(maps[0], state)
    mask_logits(embeddings[-1], features)
    return state.shapes


def _detect_without_layers(model: DeformableDETR, image: Tensor) -> Shapes:
    """Run a detector without its encoder layers; returns the shapes of the levels."""
    levels = model.project(image, None)
    model.decode(model.first_queries(levels.tokens, levels), levels.tokens, levels)
    return levels.shapes
