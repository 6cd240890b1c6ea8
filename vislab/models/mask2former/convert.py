"""Conversion of Mask2Former weights of other projects.

Each layout is a list of (pattern, replacement) for parameter names, applied in order; None removes a parameter.
Separate query, key and value weights are concatenated afterwards.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Rules = list[tuple[str, str | None]]

_OFFICIAL: Rules = [
    (r"^criterion\..*", None),
    (r".*relative_position_index$", None),
    (r"^sem_seg_head\.predictor\.static_query\.", "sem_seg_head.predictor.query_feat."),
    # files of version < 2 have the pixel decoder directly in the head
    (r"^sem_seg_head\.(?!predictor\.|pixel_decoder\.)", "sem_seg_head.pixel_decoder."),
    (r"^sem_seg_head\.pixel_decoder\.transformer\.encoder\.gt\.head\.", "gate."),
    (r"^sem_seg_head\.pixel_decoder\.transformer\.encoder\.", "pixel_decoder."),
    (r"^sem_seg_head\.pixel_decoder\.transformer\.", "pixel_decoder."),
    (r"^sem_seg_head\.pixel_decoder\.adapter_1\.norm\.", "pixel_decoder.adapter.1."),
    (r"^sem_seg_head\.pixel_decoder\.adapter_1\.", "pixel_decoder.adapter.0."),
    (r"^sem_seg_head\.pixel_decoder\.layer_1\.norm\.", "pixel_decoder.merge.1."),
    (r"^sem_seg_head\.pixel_decoder\.layer_1\.", "pixel_decoder.merge.0."),
    (r"^sem_seg_head\.pixel_decoder\.", "pixel_decoder."),
    (r"^sem_seg_head\.predictor\.", "decoder."),
    (r"^decoder\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.", r"decoder.layers.\1.cross_attn."),
    (r"^decoder\.transformer_cross_attention_layers\.(\d+)\.norm\.", r"decoder.layers.\1.norm1."),
    (r"^decoder\.transformer_self_attention_layers\.(\d+)\.self_attn\.", r"decoder.layers.\1.self_attn."),
    (r"^decoder\.transformer_self_attention_layers\.(\d+)\.norm\.", r"decoder.layers.\1.norm2."),
    (r"^decoder\.transformer_ffn_layers\.(\d+)\.norm\.", r"decoder.layers.\1.norm3."),
    (r"^decoder\.transformer_ffn_layers\.(\d+)\.", r"decoder.layers.\1."),
    (r"^decoder\.decoder_norm\.", "decoder.norm."),
    (r"^backbone\.norm(\d)\.", r"backbone.norms.\1."),
    (r"^backbone\.(patch_embed|layers)\.", r"backbone.model.\1."),
    # detectron2's ResNet
    (r"^backbone\.stem\.conv1\.norm\.", "backbone.model.bn1."),
    (r"^backbone\.stem\.conv1\.", "backbone.model.conv1."),
    (r"^backbone\.res(\d)\.(\d+)\.conv(\d)\.norm\.", r"backbone.model.layer#\1.\2.bn\3."),
    (r"^backbone\.res(\d)\.(\d+)\.shortcut\.norm\.", r"backbone.model.layer#\1.\2.downsample.1."),
    (r"^backbone\.res(\d)\.(\d+)\.shortcut\.", r"backbone.model.layer#\1.\2.downsample.0."),
    (r"^backbone\.res(\d)\.(\d+)\.", r"backbone.model.layer#\1.\2."),
]

_HF: Rules = [
    (r"^criterion\..*", None),
    (r".*relative_position_index$", None),
    (r"^class_predictor\.", "decoder.class_embed."),
    (r"^model\.", ""),
    (r"^pixel_level_module\.encoder\.(?:model|swin)\.", "pixel_level_module.encoder."),
    (r"^pixel_level_module\.encoder\.layernorm\..*", None),  # unused there
    (r"^pixel_level_module\.encoder\.embeddings\.patch_embeddings\.projection\.", "backbone.model.patch_embed.proj."),
    (r"^pixel_level_module\.encoder\.embeddings\.norm\.", "backbone.model.patch_embed.norm."),
    (r"^pixel_level_module\.encoder\.hidden_states_norms\.stage(\d)\.", r"backbone.norms.#\1."),
    (r"^pixel_level_module\.encoder\.hidden_states_norms\.(\d)\.", r"backbone.norms.\1."),
    (r"^pixel_level_module\.encoder\.encoder\.layers\.", "backbone.model.layers."),
    (r"\.attention\.self\.(query|key|value)\.", r".attn.<\1>."),
    (r"\.attention\.self\.relative_position_bias_table$", ".attn.relative_position_bias_table"),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.attention\.q_proj\.", ".attn.<query>."),
    (r"\.attention\.k_proj\.", ".attn.<key>."),
    (r"\.attention\.v_proj\.", ".attn.<value>."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.attention\.relative_position_bias\.relative_position_bias_table$", ".attn.relative_position_bias_table"),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(\.blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
    (r"^pixel_level_module\.decoder\.input_projections\.", "pixel_decoder.input_proj."),
    (r"^pixel_level_module\.decoder\.encoder\.", "pixel_decoder."),
    (r"^pixel_level_module\.decoder\.adapter_1\.", "pixel_decoder.adapter."),
    (r"^pixel_level_module\.decoder\.layer_1\.", "pixel_decoder.merge."),
    (r"^pixel_level_module\.decoder\.mask_projection\.", "pixel_decoder.mask_features."),
    (r"^pixel_level_module\.decoder\.", "pixel_decoder."),
    (r"^(pixel_decoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm1."),
    (r"^(pixel_decoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm2."),
    (r"^transformer_module\.queries_embedder\.", "decoder.query_embed."),
    (r"^transformer_module\.queries_features\.", "decoder.query_feat."),
    (r"^transformer_module\.level_embed\.", "decoder.level_embed."),
    (r"^transformer_module\.decoder\.layernorm\.", "decoder.norm."),
    (r"^transformer_module\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0\.", r"decoder.mask_embed.layers.\1."),
    (r"^transformer_module\.decoder\.", "decoder."),
    (r"^(decoder\.layers\.\d+\.self_attn)\.([qkv])_proj\.", r"\1.<\2>."),
    (r"^(decoder\.layers\.\d+)\.cross_attn_layer_norm\.", r"\1.norm1."),
    (r"^(decoder\.layers\.\d+)\.self_attn_layer_norm\.", r"\1.norm2."),
    (r"^(decoder\.layers\.\d+)\.final_layer_norm\.", r"\1.norm3."),
    (r"^(pixel_decoder\.layers\.\d+|decoder\.layers\.\d+)\.fc([12])\.", r"\1.linear\2."),
]

_MMDET: Rules = [
    (r"^(data_preprocessor|panoptic_head\.loss_cls|panoptic_fusion_head)\..*", None),
    (r".*relative_position_index$", None),
    (r"^backbone\.norm(\d)\.", r"backbone.norms.\1."),
    (r"^backbone\.patch_embed\.projection\.", "backbone.model.patch_embed.proj."),
    (r"^backbone\.patch_embed\.", "backbone.model.patch_embed."),
    (r"^backbone\.stages\.", "backbone.model.layers."),
    (r"\.attn\.w_msa\.", ".attn."),
    (r"^(backbone\..*)\.ffn\.layers\.0\.0\.", r"\1.mlp.fc1."),
    (r"^(backbone\..*)\.ffn\.layers\.1\.", r"\1.mlp.fc2."),
    (r"^backbone\.(conv1|bn1|layer\d)\.", r"backbone.model.\1."),
    (r"\.attentions\.0\.attn\.", ".cross_attn.attn."),  # 2.x
    (r"\.attentions\.1\.attn\.", ".self_attn.attn."),
    (r"\.attentions\.0\.", ".self_attn."),
    (r"\.ffns\.0\.", ".ffn."),
    (r"\.ffn\.layers\.0\.0\.", ".linear1."),
    (r"\.ffn\.layers\.1\.", ".linear2."),
    (r"^panoptic_head\.pixel_decoder\.input_convs\.(\d)\.conv\.", r"pixel_decoder.input_proj.\1.0."),
    (r"^panoptic_head\.pixel_decoder\.input_convs\.(\d)\.gn\.", r"pixel_decoder.input_proj.\1.1."),
    (r"^panoptic_head\.pixel_decoder\.encoder\.", "pixel_decoder."),
    (r"^panoptic_head\.pixel_decoder\.level_encoding\.weight$", "pixel_decoder.level_embed"),
    (r"^panoptic_head\.pixel_decoder\.lateral_convs\.0\.conv\.", "pixel_decoder.adapter.0."),
    (r"^panoptic_head\.pixel_decoder\.lateral_convs\.0\.gn\.", "pixel_decoder.adapter.1."),
    (r"^panoptic_head\.pixel_decoder\.output_convs\.0\.conv\.", "pixel_decoder.merge.0."),
    (r"^panoptic_head\.pixel_decoder\.output_convs\.0\.gn\.", "pixel_decoder.merge.1."),
    (r"^panoptic_head\.pixel_decoder\.mask_feature\.", "pixel_decoder.mask_features."),
    (r"^panoptic_head\.transformer_decoder\.post_norm\.", "decoder.norm."),
    (r"^panoptic_head\.transformer_decoder\.", "decoder."),
    (r"^panoptic_head\.(query_embed|query_feat|level_embed)\.", r"decoder.\1."),
    (r"^panoptic_head\.cls_embed\.", "decoder.class_embed."),
    (r"^panoptic_head\.mask_embed\.(\d)\.", r"decoder.mask_embed.layers.%\1."),
    (r"^(decoder\.layers\.\d+\.(?:cross|self)_attn)\.attn\.", r"\1."),
    (r"^(pixel_decoder\.layers\.\d+)\.norms\.([01])\.", r"\1.norm+\2."),
    (r"^(decoder\.layers\.\d+)\.norms\.([012])\.", r"\1.norm+\2."),
]

_RULES = {"official": _OFFICIAL, "hf": _HF, "mmdet": _MMDET}
LAYOUTS = tuple(_RULES)


def detect(state: Mapping[str, Tensor]) -> str | None:
    """Return the layout of a state dict; None if it is unknown."""
    marks = {"sem_seg_head.": "official", "panoptic_head.": "mmdet", "transformer_module.": "hf"}
    for name in state:
        for mark, layout in marks.items():
            if mark in name:
                return layout
    return None


def convert(state: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
    """Convert a state dict of the given layout; names without a rule are unchanged."""
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        new = _rename(name, _RULES[layout])
        if new is not None:
            renamed[new] = value
    if layout == "mmdet":
        for name in [n for n in renamed if ".downsample.norm." in n or ".downsample.reduction." in n]:
            if name.startswith("backbone.model.layers."):
                renamed[name] = unfold_to_blocks(renamed[name])
    joined = _join(renamed)
    return {_shift_downsample(name): value for name, value in joined.items()}


def unfold_to_blocks(value: Tensor) -> Tensor:
    """Reorder the last axis of PatchMerging weights of mmdet, (..., 4 C), to the usual order.

    mmdet uses channel-major order with positions row by row; others use position-major order, column by column.
    `blocks_to_unfold` is the inverse."""
    channels = value.shape[-1] // 4
    return value.unflatten(-1, (channels, 2, 2)).movedim(-3, -1).transpose(-3, -2).flatten(-3)


def blocks_to_unfold(value: Tensor) -> Tensor:
    """Inverse of `unfold_to_blocks`."""
    channels = value.shape[-1] // 4
    return value.unflatten(-1, (2, 2, channels)).transpose(-3, -2).movedim(-1, -3).flatten(-3)


def _rename(name: str, rules: Rules) -> str | None:
    for pattern, replacement in rules:
        if replacement is None:
            if re.match(pattern, name):
                return None
        else:
            name = re.sub(pattern, replacement, name)
    return _count(name)


def _count(name: str) -> str:
    """Convert indices: #n is n - 1, +n is n + 1, %n is n / 2."""
    steps: dict[str, Callable[[int], int]] = {"#": lambda n: n - 1, "+": lambda n: n + 1, "%": lambda n: n // 2}
    return re.sub(r"([#+%])(\d)", lambda m: str(steps[m[1]](int(m[2]))), name)


def _join(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Concatenate <query>, <key>, <value> of Swin to attn.qkv, and <q>, <k>, <v> of the decoder to in_proj."""
    joined: dict[str, Tensor] = {}
    for name, value in state.items():
        if match := re.search(r"<(query|key|value)>", name):
            parts = [name.replace(match[0], f"<{part}>") for part in ("query", "key", "value")]
            target = name.replace(match[0], "qkv")
        elif match := re.search(r"<([qkv])>\.(weight|bias)$", name):
            parts = [name.replace(match[0], f"<{part}>.{match[2]}") for part in "qkv"]
            target = name.replace(match[0], f"in_proj_{match[2]}")
        else:
            joined[name] = value
            continue
        if target not in joined and all(part in state for part in parts):
            joined[target] = torch.cat([state[part] for part in parts])
        elif target not in joined:
            joined[name] = value  # incomplete: reported as unexpected
    return joined


def _shift_downsample(name: str) -> str:
    """Rename patch merging, which is at the start of the next stage in timm and at the end of the stage in others."""
    return re.sub(r"^(backbone\.model\.layers\.)(\d)(\.downsample\.)", lambda m: f"{m[1]}{int(m[2]) + 1}{m[3]}", name)
