"""Other projects' checkpoints: names there and back, permuted weights, pickles that hold only arrays, reports."""

import pickle
import re

import numpy as np
import pytest
import torch

from vislab.errors import CheckpointError, ConfigError
from vislab.models.mask2former import Mask2Former
from vislab.models.mask2former.convert import blocks_to_unfold, convert, detect, unfold_to_blocks
from vislab.zoo import load_foreign

PARTS = {
    "num_classes": 3, "num_queries": 4,
    "pixel_decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 32, "num_layers": 2},
    "decoder": {"dim": 32, "mask_dim": 32, "num_heads": 4, "ffn_dim": 32, "num_layers": 2},
}  # fmt: skip
SWIN = {
    "name": "swin_tiny_patch4_window7_224", "out_norm": "layer",
    "model_args": {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
}  # fmt: skip


def model(backbone=SWIN, seed=0, **changes) -> Mask2Former:
    torch.manual_seed(seed)
    made = Mask2Former(backbone=backbone, **(PARTS | changes))
    for parameter in made.parameters():
        parameter.data.normal_()
    return made


def replace(name: str, rules) -> str:
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def minus(match) -> str:
    return f"{match[1]}{int(match[2]) - 1}{match[3]}"


def official_name(name: str) -> str:
    """Ours to the official spelling, written from the table of names and not from the converter."""
    name = re.sub(r"^(backbone\.model\.layers\.)(\d)(\.downsample\.)", minus, name)
    return replace(
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
    name = re.sub(r"^(backbone\.model\.layers\.)(\d)(\.downsample\.)", minus, name)
    number = lambda step: lambda m: f"{m[1]}norms.{int(m[2]) - step}."
    name = re.sub(r"^(pixel_decoder\.layers\.\d+\.)norm(\d)\.", number(1), name)
    name = re.sub(r"^(decoder\.layers\.\d+\.)norm(\d)\.", number(1), name)
    name = re.sub(r"^decoder\.mask_embed\.layers\.(\d)", lambda m: f"panoptic_head.mask_embed.{2 * int(m[1])}", name)
    return replace(
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


def same(a: Mask2Former, b: Mask2Former) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for (name, x), y in pairs if not name.endswith("num_batches_tracked"))


@pytest.mark.parametrize("backbone", [SWIN, {"name": "resnet26"}], ids=["swin", "resnet"])
def test_official_names_round_trip(backbone):
    source, target = model(backbone), model(backbone, seed=1)
    state = {official_name(name): value for name, value in source.state_dict().items()}
    assert detect(state) == "official" and not any("norms." in name for name in state)
    state = {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}  # frozen norms have none
    state["criterion.empty_weight"] = torch.ones(4)
    report = load_foreign(target, state)
    assert not report.missing and not report.unexpected and not report.mismatched, str(report)
    assert same(source, target)


def test_old_official_files_without_the_pixel_decoder_prefix():
    source, target = model(), model(seed=1)
    state = {official_name(n).replace("sem_seg_head.pixel_decoder.", "sem_seg_head."): v
             for n, v in source.state_dict().items()}  # fmt: skip
    state["sem_seg_head.predictor.static_query.weight"] = state.pop("sem_seg_head.predictor.query_feat.weight")
    report = load_foreign(target, state)
    assert not report.missing and not report.unexpected and same(source, target)


def test_mmdet_names_and_patch_merging_round_trip():
    source, target = model(), model(seed=1)
    state = {}
    for name, value in source.state_dict().items():
        permuted = ".downsample." in name
        state[mmdet_name(name)] = blocks_to_unfold(value) if permuted else value
    report = load_foreign(target, state)
    assert report.layout == "mmdet" and not report.missing and not report.unexpected, str(report)
    assert same(source, target)


def test_patch_merging_by_unfolding_gives_the_same_map():
    """The permutation, by what it is for: one merge written with unfold, one with strided slices."""
    torch.manual_seed(0)
    x, weight = torch.randn(1, 3, 4, 6), torch.randn(5, 12)
    unfolded = torch.nn.functional.unfold(x, 2, stride=2)  # (1, 12, 6)
    slices = torch.cat([x[..., r::2, c::2] for c in (0, 1) for r in (0, 1)], 1).flatten(2)
    torch.testing.assert_close(weight @ unfolded, unfold_to_blocks(weight) @ slices)
    assert torch.equal(blocks_to_unfold(unfold_to_blocks(weight)), weight)


def test_queries_keys_values_of_the_hub_are_joined():
    parts = {f"model.transformer_module.decoder.layers.0.self_attn.{p}_proj.weight": torch.full((2, 2), float(i))
             for i, p in enumerate("qkv")}  # fmt: skip
    block = "model.pixel_level_module.encoder.encoder.layers.1.blocks.0.attention.self."
    parts |= {f"{block}{p}.bias": torch.full((2,), float(i)) for i, p in enumerate(("query", "key", "value"))}
    parts["model.pixel_level_module.encoder.encoder.layers.0.downsample.reduction.weight"] = torch.ones(1)
    found = convert(parts, "hf")
    assert found["decoder.layers.0.self_attn.in_proj_weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert found["backbone.model.layers.1.blocks.0.attn.qkv.bias"].tolist() == [0, 0, 1, 1, 2, 2]
    assert "backbone.model.layers.1.downsample.reduction.weight" in found


def test_pickles_of_arrays_are_read_and_others_refused(tmp_path):
    source, target = model(), model(seed=1)
    arrays = {official_name(n): v.numpy() for n, v in source.state_dict().items()}
    path = tmp_path / "model_final.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x", "matching_heuristics": True}))
    assert not load_foreign(target, path).missing and same(source, target)
    path.write_bytes(pickle.dumps({"model": {"a": np.ones(2)}, "run": pytest.raises}))
    with pytest.raises(CheckpointError, match="only arrays"):
        load_foreign(target, path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError):
        load_foreign(target, path)


def test_a_head_for_other_classes_is_left_and_reported():
    source, target = model(), model(seed=1, num_classes=8)
    before = target.decoder.class_embed.weight.clone()
    report = load_foreign(target, {official_name(n): v for n, v in source.state_dict().items()})
    assert set(report.mismatched) == {"decoder.class_embed.weight", "decoder.class_embed.bias"}
    assert torch.equal(before, target.decoder.class_embed.weight)
    assert torch.equal(source.decoder.query_feat.weight, target.decoder.query_feat.weight)


def test_what_cannot_be_loaded_is_explained():
    with pytest.raises(ConfigError, match="layout"):
        load_foreign(model(), {}, layout="tf")
    with pytest.raises(ConfigError, match="Linear"):
        load_foreign(torch.nn.Linear(2, 2), {})
    with pytest.raises(CheckpointError, match="unknown layout"):
        load_foreign(model(), {"fc.weight": torch.ones(2)})
    with pytest.raises(CheckpointError, match="none of its 1"):
        load_foreign(model(), {"sem_seg_head.predictor.nothing": torch.ones(2)})
