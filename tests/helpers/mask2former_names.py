"""A small Mask2Former, and its parameters' names as other projects spell them."""

import re

import torch

from vislab.models.mask2former import Mask2Former

PARTS = {
    "num_classes": 3, "num_queries": 4,
    "pixel_decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 32, "num_layers": 2},
    "decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 32, "num_layers": 2},
}  # fmt: skip


SWIN = {
    "name": "swin_tiny_patch4_window7_224", "out_norm": "layer",
    "model_args": {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
}  # fmt: skip


def small_model(backbone=SWIN, seed=0, **changes) -> Mask2Former:
    torch.manual_seed(seed)
    made = Mask2Former(backbone=backbone, **(PARTS | changes))
    for parameter in made.parameters():
        parameter.data.normal_()
    return made


def _replace(name: str, rules) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def _minus(match) -> str:
    return f"{match[1]}{int(match[2]) - 1}{match[3]}"


def official_name(name: str) -> str:
    """Ours to the official spelling, written from the table of names and not from the converter."""
    name = re.sub(r"^(backbone\.model\.layers\.)(\d)(\.downsample\.)", _minus, name)
    return _replace(
        name,
        [
            (r"^backbone\.norms\.(\d)", r"backbone.norm\1"),
            (r"^backbone\.model\.(patch_embed|layers)", r"backbone.\1"),
            (r"^backbone\.model\.conv1\.", "backbone.stem.conv1."),
            (r"^backbone\.model\.bn1\.", "backbone.stem.conv1.norm."),
            (r"^backbone\.model\.layer(\d)\.(\d+)\.downsample\.0\.", r"backbone.RES\1.\2.shortcut."),
            (r"^backbone\.model\.layer(\d)\.(\d+)\.downsample\.1\.", r"backbone.RES\1.\2.shortcut.norm."),
            (r"^backbone\.model\.layer(\d)\.(\d+)\.bn(\d)\.", r"backbone.RES\1.\2.conv\3.norm."),
            (r"^backbone\.model\.layer(\d)\.", r"backbone.RES\1."),
            (r"RES1", "res2"), (r"RES2", "res3"), (r"RES3", "res4"), (r"RES4", "res5"),
            (r"^pixel_decoder\.level_embed", "sem_seg_head.pixel_decoder.transformer.level_embed"),
            (r"^pixel_decoder\.layers", "sem_seg_head.pixel_decoder.transformer.encoder.layers"),
            (r"^pixel_decoder\.adapter\.0", "sem_seg_head.pixel_decoder.adapter_1"),
            (r"^pixel_decoder\.adapter\.1", "sem_seg_head.pixel_decoder.adapter_1.norm"),
            (r"^pixel_decoder\.merge\.0", "sem_seg_head.pixel_decoder.layer_1"),
            (r"^pixel_decoder\.merge\.1", "sem_seg_head.pixel_decoder.layer_1.norm"),
            (r"^pixel_decoder\.", "sem_seg_head.pixel_decoder."),
            (r"^decoder\.layers\.(\d+)\.cross_attn\.",
             r"sem_seg_head.predictor.transformer_cross_attention_layers.\1.multihead_attn."),
            (r"^decoder\.layers\.(\d+)\.norm1", r"sem_seg_head.predictor.transformer_cross_attention_layers.\1.norm"),
            (r"^decoder\.layers\.(\d+)\.self_attn\.",
             r"sem_seg_head.predictor.transformer_self_attention_layers.\1.self_attn."),
            (r"^decoder\.layers\.(\d+)\.norm2", r"sem_seg_head.predictor.transformer_self_attention_layers.\1.norm"),
            (r"^decoder\.layers\.(\d+)\.norm3", r"sem_seg_head.predictor.transformer_ffn_layers.\1.norm"),
            (r"^decoder\.layers\.(\d+)\.linear", r"sem_seg_head.predictor.transformer_ffn_layers.\1.linear"),
            (r"^decoder\.norm\.", "sem_seg_head.predictor.decoder_norm."),
            (r"^decoder\.", "sem_seg_head.predictor."),
        ],
    )  # fmt: skip


def mmdet_name(name: str) -> str:
    name = re.sub(r"^(backbone\.model\.layers\.)(\d)(\.downsample\.)", _minus, name)
    number = lambda step: lambda m: f"{m[1]}norms.{int(m[2]) - step}."
    name = re.sub(r"^(pixel_decoder\.layers\.\d+\.)norm(\d)\.", number(1), name)
    name = re.sub(r"^(decoder\.layers\.\d+\.)norm(\d)\.", number(1), name)
    name = re.sub(r"^decoder\.mask_embed\.layers\.(\d)", lambda m: f"panoptic_head.mask_embed.{2 * int(m[1])}", name)
    return _replace(
        name,
        [
            (r"^backbone\.norms\.(\d)", r"backbone.norm\1"),
            (r"^backbone\.model\.patch_embed\.proj", "backbone.patch_embed.projection"),
            (r"^backbone\.model\.patch_embed", "backbone.patch_embed"),
            (r"^backbone\.model\.layers", "backbone.stages"),
            (r"(stages\..*)\.attn\.", r"\1.attn.w_msa."),
            (r"(stages\..*)\.mlp\.fc1", r"\1.ffn.layers.0.0"),
            (r"(stages\..*)\.mlp\.fc2", r"\1.ffn.layers.1"),
            (r"^pixel_decoder\.input_proj\.(\d)\.0", r"panoptic_head.pixel_decoder.input_convs.\1.conv"),
            (r"^pixel_decoder\.input_proj\.(\d)\.1", r"panoptic_head.pixel_decoder.input_convs.\1.gn"),
            (r"^pixel_decoder\.level_embed", "panoptic_head.pixel_decoder.level_encoding.weight"),
            (r"^pixel_decoder\.layers", "panoptic_head.pixel_decoder.encoder.layers"),
            (r"^pixel_decoder\.adapter\.0", "panoptic_head.pixel_decoder.lateral_convs.0.conv"),
            (r"^pixel_decoder\.adapter\.1", "panoptic_head.pixel_decoder.lateral_convs.0.gn"),
            (r"^pixel_decoder\.merge\.0", "panoptic_head.pixel_decoder.output_convs.0.conv"),
            (r"^pixel_decoder\.merge\.1", "panoptic_head.pixel_decoder.output_convs.0.gn"),
            (r"^pixel_decoder\.mask_features", "panoptic_head.pixel_decoder.mask_feature"),
            (r"^(decoder\.layers\.\d+\.(cross|self)_attn)\.", r"\1.attn."),
            (r"^decoder\.layers", "panoptic_head.transformer_decoder.layers"),
            (r"^decoder\.norm", "panoptic_head.transformer_decoder.post_norm"),
            (r"^decoder\.class_embed", "panoptic_head.cls_embed"),
            (r"^decoder\.", "panoptic_head."),
            (r"(panoptic_head.*)\.linear1", r"\1.ffn.layers.0.0"),
            (r"(panoptic_head.*)\.linear2", r"\1.ffn.layers.1"),
        ],
    )  # fmt: skip


def same_weights(a: Mask2Former, b: Mask2Former) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for (name, x), y in pairs if not name.endswith("num_batches_tracked"))
