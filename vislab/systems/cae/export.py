"""Export of a pre-trained encoder as a timm VisionTransformer, with the same outputs.

The file is loaded by `timm.create_model(..., checkpoint_path=FILE)` and `TimmEncoder(pretrained=FILE)`. Both must be
given the architecture, which `timm_arguments` returns and the metadata of the file holds: tensors do not show the
number of heads.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor

from vislab.errors import ConfigError, check_choice
from vislab.io.atomic import write_atomically
from vislab.models.encoders.timm_models import ARCHITECTURE_KEY
from vislab.models.encoders.vit import ViT

# timm's names of the usual sizes: width, depth, patch -> name, number of heads there
_NAMES = {
    (192, 12, 16): ("vit_tiny_patch16_224", 3),
    (384, 12, 16): ("vit_small_patch16_224", 6),
    (768, 12, 16): ("vit_base_patch16_224", 12),
    (1024, 24, 16): ("vit_large_patch16_224", 16),
}
_OTHER = "vit_base_patch16_224"
Pool = Literal["token", "avg"]


def timm_arguments(encoder: ViT, *, fold: bool = False, pool: Pool = "token") -> dict[str, Any]:
    """Return the arguments of `timm.create_model` for an exported encoder, "model_name" among them."""
    depth, heads = len(encoder.blocks), encoder.blocks[0].attn.num_heads
    name, usual = _NAMES.get((encoder.dim, depth, encoder.patch_size), (_OTHER, None))
    arguments: dict[str, Any] = {"model_name": name, "num_classes": 0}
    if usual is None:
        ratio = encoder.blocks[0].mlp.fc1.out_features / encoder.dim
        arguments |= {"patch_size": encoder.patch_size, "embed_dim": encoder.dim, "depth": depth, "mlp_ratio": ratio}
    if usual != heads:
        arguments["num_heads"] = heads
    if encoder.img_size != (224, 224):
        arguments["img_size"] = list(encoder.img_size)
    if encoder.in_channels != 3:
        arguments["in_chans"] = encoder.in_channels
    if encoder.blocks[0].ls1 is not None and not fold:
        arguments["init_values"] = 1e-5  # any number: the scales are in the file
    if pool == "avg":
        arguments["global_pool"] = "avg"
    return arguments


@torch.no_grad()
def timm_state(encoder: ViT, *, fold: bool = False, pool: Pool = "token") -> dict[str, Tensor]:
    """Return the weights of an encoder with the names of timm's VisionTransformer, on the CPU.

    Relative position biases of fine-tuning have no place there and are refused.

    Args:
        encoder: The encoder.
        fold: Multiply the layer scales into the linear layers before them, for models without layer scale.
        pool: "token": the final norm is `norm`, before the class token is taken. "avg": it is `fc_norm`, after the mean
            of the patch tokens, as in the published fine-tuning.

    Raises:
        ConfigError: Unknown `pool`, or an encoder with relative position biases.
    """
    if encoder.rel_pos_bias:
        raise ConfigError("timm's VisionTransformer has no relative position bias: export an encoder without it")
    check_choice("pool", pool, ("token", "avg"))
    state = {"cls_token": encoder.cls_token, "pos_embed": encoder.pos_embed}
    state |= {f"patch_embed.{key}": value for key, value in encoder.patch_embed.state_dict().items()}
    for index, block in enumerate(encoder.blocks):
        attn, mlp = block.attn, block.mlp
        own = {
            f"{norm}.{key}": v for norm in ("norm1", "norm2") for key, v in getattr(block, norm).state_dict().items()
        }
        own["attn.qkv.weight"] = attn.qkv.weight
        own["attn.qkv.bias"] = torch.cat((attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias))
        own |= {"mlp.fc1.weight": mlp.fc1.weight, "mlp.fc1.bias": mlp.fc1.bias}
        for name, linear, scale in (("attn.proj", attn.proj, "ls1"), ("mlp.fc2", mlp.fc2, "ls2")):
            gamma = getattr(block, scale)
            weight, bias = gamma.fold(linear) if fold and gamma is not None else (linear.weight, linear.bias)
            own |= {f"{name}.weight": weight, f"{name}.bias": bias}
            if gamma is not None and not fold:
                own[f"{scale}.gamma"] = gamma.gamma
        state |= {f"blocks.{index}.{key}": value for key, value in own.items()}
    last = "norm" if pool == "token" else "fc_norm"
    state |= {f"{last}.{key}": value for key, value in encoder.norm.state_dict().items()}
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def export_encoder(
    encoder: ViT,
    path: str | Path,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    fold: bool = False,
    pool: Pool = "token",
) -> dict[str, Any]:
    """Write an encoder to a .safetensors file for timm, atomically; returns the arguments of `timm.create_model`.

    Args:
        encoder: The encoder.
        path: File to write.
        mean, std: Statistics per channel that normalized its images, in [0, 1] units.
        fold, pool: See `timm_state`.

    Raises:
        ConfigError: The file name has another ending, or `pool` is unknown.
        CheckpointError: The file cannot be written; an existing one is unchanged.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ConfigError(f"{path}: the exported file is of the safetensors format: name it *.safetensors")
    arguments = timm_arguments(encoder, fold=fold, pool=pool)
    facts = {"num_heads": encoder.blocks[0].attn.num_heads, "depth": len(encoder.blocks), "timm": arguments}
    facts |= {"mean": list(mean), "std": list(std)}
    content = save(timm_state(encoder, fold=fold, pool=pool), {ARCHITECTURE_KEY: json.dumps(facts)})
    write_atomically(path, lambda file: file.write(content))
    return arguments
