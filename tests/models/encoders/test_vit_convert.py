"""Weights of CAE's ViT in other projects; tests/systems/cae/test_convert.py has whole models."""

import pytest
import torch

from vislab.errors import CheckpointError
from vislab.models.encoders import vit_convert
from vislab.models.encoders.vit import ViT
from vislab.zoo import load_foreign
from vislab.zoo.foreign import CONVERTERS


def encoder(**settings) -> ViT:
    return ViT(
        **{"img_size": 16, "patch_size": 4, "dim": 16, "depth": 2, "num_heads": 2, "init_values": 0.5} | settings
    )


def official(model: ViT) -> dict[str, torch.Tensor]:
    """The names of the official code, written down independently of the converter."""
    state = {"encoder.pos_embed": model.pos_embed}
    for name, value in model.state_dict().items():
        state["encoder." + name.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2")] = value
    return state


def test_a_vit_is_loaded_without_the_system_of_its_training():
    assert CONVERTERS["ViT"] is vit_convert  # not added by the import of vislab.systems.cae
    torch.manual_seed(0)
    source, target = encoder(), encoder()
    others = {"alignment_encoder.cls_token": torch.zeros(1, 1, 16), "decoder.head.weight": torch.zeros(3, 16)}
    report = load_foreign(target, {"model": official(source) | others})
    assert report.layout == "official" and not (report.missing or report.unexpected or report.mismatched)
    assert report.ignored == {"encoder": 1, "alignment_encoder": 1, "decoder": 1}
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(source(images), target(images))


def test_names_of_mmpretrain():
    names = {
        "backbone.ln1.weight": "norm.weight",
        "backbone.cls_token": "cls_token",
        "backbone.patch_embed.projection.bias": "patch_embed.proj.bias",
        "backbone.layers.3.ln2.weight": "blocks.3.norm2.weight",
        "backbone.layers.3.ffn.layers.0.0.bias": "blocks.3.mlp.fc1.bias",
        "backbone.layers.11.ffn.layers.1.weight": "blocks.11.mlp.fc2.weight",
        "backbone.layers.0.gamma_2": "blocks.0.ls2.gamma",
    }
    left_out = ["backbone.pos_embed", "teacher.layers.0.ln1.weight", "neck.mask_token", "head.weight"]
    state = {name: torch.full((1,), i) for i, name in enumerate([*names, *left_out])}
    assert vit_convert.detect(state) == "mmpretrain"
    assert vit_convert.convert(state, "mmpretrain") == {new: state[old] for old, new in names.items()}
    assert vit_convert.ignored(state, "mmpretrain") == {"backbone": 1, "teacher": 1, "neck": 1, "head": 1}


def test_other_positions_and_names_are_told(logged):
    source = encoder()
    state = official(source)
    load_foreign(encoder(), state | {"encoder.pos_embed": source.pos_embed + 0.01})
    assert "encoder.pos_embed differs from the sine positions by up to 0.01" in logged()
    load_foreign(encoder(), state | {"encoder.pos_embed": torch.zeros(1, 12, 16)})
    assert "11 positions of width 16, which are not compared" in logged()
    with pytest.raises(CheckpointError, match="names are of an unknown layout"):
        load_foreign(encoder(), {"trunk.blocks.0.gamma_1": torch.zeros(16)})
