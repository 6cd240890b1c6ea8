"""Weights of other projects: names of every layout there and back, permuted and joined weights."""

import pytest
import torch

from tests.helpers.mask2former_names import SWIN, mmdet_name, official_name, same_weights, small_model
from vislab.models.mask2former.convert import blocks_to_unfold, convert, detect, unfold_to_blocks
from vislab.zoo import load_foreign


@pytest.mark.parametrize("backbone", [SWIN, {"name": "resnet26"}], ids=["swin", "resnet"])
def test_official_names_round_trip(backbone):
    source, target = small_model(backbone), small_model(backbone, seed=1)
    state = {official_name(name): value for name, value in source.state_dict().items()}
    assert detect(state) == "official" and not any("norms." in name for name in state)
    state = {n: v for n, v in state.items() if not n.endswith("num_batches_tracked")}  # frozen norms have none
    state["criterion.empty_weight"] = torch.ones(4)
    report = load_foreign(target, state)
    assert not report.missing and not report.unexpected and not report.mismatched, str(report)
    assert same_weights(source, target)


def test_old_official_files_without_the_pixel_decoder_prefix():
    source, target = small_model(), small_model(seed=1)
    state = {official_name(n).replace("sem_seg_head.pixel_decoder.", "sem_seg_head."): v
             for n, v in source.state_dict().items()}  # fmt: skip
    state["sem_seg_head.predictor.static_query.weight"] = state.pop("sem_seg_head.predictor.query_feat.weight")
    report = load_foreign(target, state)
    assert not report.missing and not report.unexpected and same_weights(source, target)


def test_mmdet_names_and_patch_merging_round_trip():
    source, target = small_model(), small_model(seed=1)
    state = {}
    for name, value in source.state_dict().items():
        permuted = ".downsample." in name
        state[mmdet_name(name)] = blocks_to_unfold(value) if permuted else value
    report = load_foreign(target, state)
    assert report.layout == "mmdet" and not report.missing and not report.unexpected, str(report)
    assert same_weights(source, target)


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
