"""Conversion of Deformable DETR weights of the official project and of transformers.

Both name the heads by index. Models without box refinement share one head, which both store once per layer; in
two-stage models the last head is that of the proposals.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

LAYOUTS = ("official", "hf")

_RULES = [
    (r"^criterion\..*", None),
    # transformers
    (r"^model\.(backbone|input_proj|level_embed|query_position_embeddings|encoder|decoder)", r"\1"),
    (r"^model\.(reference_points|enc_output|enc_output_norm|pos_trans|pos_trans_norm)\.", r"\1."),
    (r"^query_position_embeddings\.", "query_embed."),
    (r"\.self_attn\.o_proj\.", ".self_attn.out_proj."),
    (r"^(decoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm2."),
    (r"^(decoder\.layers\.\d+)\.encoder_attn_layer_norm\.", r"\1.norm1."),
    (r"^(decoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm3."),
    (r"^(decoder\.layers\.\d+)\.encoder_attn\.", r"\1.cross_attn."),
    (r"^(encoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"^(encoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm2."),
    (r"^((?:en|de)coder\.layers\.\d+)\.(?:mlp\.)?fc([12])\.", r"\1.linear\2."),
    (r"^backbone\.(?:conv_encoder\.)?model\.embedder\.embedder\.convolution\.", "backbone.model.conv1."),
    (r"^backbone\.(?:conv_encoder\.)?model\.embedder\.embedder\.normalization\.", "backbone.model.bn1."),
    (
        r"^backbone\.(?:conv_encoder\.)?model\.encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.convolution\.",
        r"backbone.model.layer+\1.\2.conv+\3.",
    ),
    (
        r"^backbone\.(?:conv_encoder\.)?model\.encoder\.stages\.(\d)\.layers\.(\d+)\.layer\.(\d)\.normalization\.",
        r"backbone.model.layer+\1.\2.bn+\3.",
    ),
    (
        r"^backbone\.(?:conv_encoder\.)?model\.encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.convolution\.",
        r"backbone.model.layer+\1.\2.downsample.0.",
    ),
    (
        r"^backbone\.(?:conv_encoder\.)?model\.encoder\.stages\.(\d)\.layers\.(\d+)\.shortcut\.normalization\.",
        r"backbone.model.layer+\1.\2.downsample.1.",
    ),
    (r"^backbone\.conv_encoder\.model\.", "backbone.model."),
    # the official project
    (r"^transformer\.", ""),
    (r"^backbone\.0\.body\.", "backbone.model."),
    (r"^(decoder\.)?(class|bbox)_embed\.", r"\2_embed."),
    # both
    (r"^backbone\.model\.fc\..*", None),
    (r"^input_proj\.", "neck.input_proj."),
    (r"^level_embed$", "neck.level_embed"),
    (r"^query_embed\.", "queries.embed."),
    (r"^reference_points\.", "queries.reference."),
    (r"^enc_output\.", "proposals.output."),
    (r"^enc_output_norm\.", "proposals.norm."),
    (r"^pos_trans\.", "queries.from_box.0."),
    (r"^pos_trans_norm\.", "queries.from_box.1."),
]
_HEADS = {"class_embed": "classes", "bbox_embed": "boxes"}


def detect(state: Mapping[str, Tensor]) -> str | None:
    """Return the layout of a state dict; None if it is unknown."""
    if any(name.startswith("transformer.") for name in state):
        return "official"
    return "hf" if any(name.startswith("model.encoder.") for name in state) else None


def convert(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Convert a state dict of the layouts "official" or "hf"; names without a rule are unchanged."""
    if layout not in LAYOUTS:
        raise ValueError(f"no Deformable DETR weights of the layout {layout!r} are known")
    refines = any(re.match(r"(transformer|model)\.decoder\.bbox_embed\.", name) for name in state)
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        new = _rename(name)
        if new is not None:
            renamed[new] = value
    return _place_heads(_join(renamed), refines)


def _rename(name: str) -> str | None:
    for pattern, replacement in _RULES:
        if replacement is None:
            if re.match(pattern, name):
                return None
        else:
            name = re.sub(pattern, replacement, name)
    return re.sub(r"\+(\d)", lambda m: str(int(m[1]) + 1), name)


def _join(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Concatenate q_proj, k_proj and v_proj of self-attention in transformers to in_proj."""
    joined: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.search(r"self_attn\.([qkv])_proj\.(weight|bias)$", name)
        parts = [] if match is None else [name.replace(f".{match[1]}_proj.", f".{x}_proj.") for x in "qkv"]
        if match is None or not all(part in state for part in parts):
            joined[name] = value  # an incomplete set is reported as unexpected
        elif match[1] == "q":
            target = name.replace(f"q_proj.{match[2]}", f"in_proj_{match[2]}")
            joined[target] = torch.cat([state[part] for part in parts])
    return joined


def _place_heads(state: dict[str, Tensor], refines: bool) -> dict[str, Tensor]:
    """Rename class_embed.i and bbox_embed.i to the heads of the decoder and of the proposals."""
    layers = 1 + max((int(m[1]) for m in (re.match(r"decoder\.layers\.(\d+)\.", n) for n in state) if m), default=0)
    placed: dict[str, Tensor] = {}
    for name, value in state.items():
        match = re.match(r"(class_embed|bbox_embed)\.(\d+)\.(.*)", name)
        if match is None:
            placed[name] = value
            continue
        kind, index, rest = _HEADS[match[1]], int(match[2]), match[3]
        if index == layers:
            placed[f"proposals.head.{kind}.{rest}"] = value
        elif refines or index == 0:
            placed[f"decoder.heads.{index}.{kind}.{rest}"] = value
    if refines:  # transformers stores a class head that all layers share only once
        for name in [n for n in placed if n.startswith("decoder.heads.0.")]:
            for index in range(1, layers):
                placed.setdefault(name.replace(".0.", f".{index}.", 1), placed[name])
    return placed
