"""Test names of the weights of other projects, there and back."""

import re

import pytest
import torch

from tests.helpers.deformable_detr import small
from vislab.models.deformable_detr.convert import convert, detect
from vislab.zoo import load_foreign


def official_name(name: str, layers: int = 2) -> str:
    """The official project's name of a parameter; written from its modules, independently of the rules."""
    if name.startswith("backbone.model."):
        return name.replace("backbone.model.", "backbone.0.body.")
    if name.startswith("neck."):
        return "transformer.level_embed" if "level" in name else name.removeprefix("neck.")
    if name.startswith("queries."):
        for ours, theirs in (
            ("embed", "query_embed"),
            ("reference", "transformer.reference_points"),
            ("from_box.0", "transformer.pos_trans"),
            ("from_box.1", "transformer.pos_trans_norm"),
        ):
            name = name.replace(f"queries.{ours}.", f"{theirs}.")
        return name
    for ours, theirs in (("output", "enc_output"), ("norm", "enc_output_norm")):
        if name.startswith(f"proposals.{ours}."):
            return name.replace(f"proposals.{ours}.", f"transformer.{theirs}.")
    head = re.match(r"(?:proposals\.head|decoder\.heads\.(\d))\.(classes|boxes)\.(.*)", name)
    if head:
        kind = {"classes": "class_embed", "boxes": "bbox_embed"}[head[2]]
        return f"{kind}.{layers if head[1] is None else head[1]}.{head[3]}"
    return f"transformer.{name}"


def official_state(model, kind):
    state = {official_name(n): v for n, v in model.state_dict().items() if not n.endswith("num_batches_tracked")}
    for name in [n for n in state if n.startswith(("class_embed", "bbox_embed"))]:
        if kind == "plain":
            state[name.replace(".0.", ".1.", 1)] = state[name]  # shared, stored once per layer
        elif name.startswith("bbox") or kind == "two_stage":
            state[f"transformer.decoder.{name}"] = state[name]
    return state


@pytest.mark.parametrize("kind", ["plain", "box_refine", "two_stage"])
def test_official_names_round_trip(kind):
    source, target = small(kind), small(kind)
    state = official_state(source, kind)
    assert detect(state) == "official"
    report = load_foreign(target, state)
    assert not report.missing and not report.unexpected and not report.mismatched, str(report)
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name]) or name.endswith("num_batches_tracked"), name


def test_names_of_older_and_newer_transformers():
    own = "model.decoder.layers.0.self_attn"
    parts = {f"{own}.{p}_proj.weight": torch.full((2, 2), float(i)) for i, p in enumerate("qkv")}
    parts |= {
        "model.encoder.layers.0.fc1.weight": torch.ones(1),
        "model.encoder.layers.1.mlp.fc1.weight": torch.ones(1),
        "model.backbone.conv_encoder.model.layer2.0.conv1.weight": torch.ones(1),
        "model.backbone.model.encoder.stages.2.layers.1.layer.0.convolution.weight": torch.ones(1),
        "class_embed.0.bias": torch.ones(1),
        "model.decoder.bbox_embed.0.layers.0.bias": torch.zeros(1),
        "model.decoder.bbox_embed.1.layers.0.bias": torch.ones(1),
        "model.decoder.layers.1.fc1.bias": torch.ones(1),
    }
    assert detect(parts) == "hf"
    found = convert(parts, "hf")
    assert found["decoder.layers.0.self_attn.in_proj_weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert {"encoder.layers.0.linear1.weight", "encoder.layers.1.linear1.weight"} <= set(found)
    assert {"backbone.model.layer2.0.conv1.weight", "backbone.model.layer3.1.conv1.weight"} <= set(found)
    assert "decoder.heads.1.classes.bias" in found  # stored once, since transformers shares it
    assert found["decoder.heads.1.boxes.layers.0.bias"] == 1


def test_unknown_layouts():
    assert detect({"weight": torch.ones(1)}) is None
    with pytest.raises(ValueError, match="mmdet"):
        convert({}, "mmdet")
