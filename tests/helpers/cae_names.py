"""State dicts of a CAE with the names of other projects, written from their code, with all that their files hold."""

import torch
from torch import Tensor

from vislab.layers.position import sincos_table
from vislab.systems.cae import CAE

PLAIN = {"ls1.gamma": "gamma_1", "ls2.gamma": "gamma_2"}
CROSS = {"ls1.gamma": "gamma_1_cross", "ls2.gamma": "gamma_2_cross", "norm2.": "norm2_cross."}
CROSS |= {"norm_q.": "norm1_q.", "norm_k.": "norm1_k.", "norm_v.": "norm1_v."}
CROSS |= {"attn.": "cross_attn.", "mlp.": "mlp_cross."}


def foreign_state(model: CAE, layout: str) -> dict[str, Tensor]:
    """The state dict of `model` in a layout of another project; a square grid, no target of its own."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    named = {"official": _official, "official_v1": _official_v1, "mmpretrain": _mmpretrain}[layout]
    found = {named(name): value for name, value in state.items()}
    h, w = model.encoder.grid
    table = torch.cat((torch.zeros(1, model.encoder.dim), sincos_table(h, w, dim=model.encoder.dim)))[None]
    encoder, copy = {
        "official": ("encoder", "alignment_encoder"),
        "official_v1": ("encoder", "teacher"),
        "mmpretrain": ("backbone", "teacher"),
    }[layout]
    found[f"{encoder}.pos_embed"] = table
    found |= {k.replace(encoder, copy, 1): v + 1 for k, v in found.items() if k.startswith(f"{encoder}.")}
    if layout == "official":
        found["rd_pos_embed"] = torch.zeros(1, 1 + h * w, model.regressor.dim)
    if layout == "mmpretrain":
        found["target_generator.blocks.input.w"] = torch.zeros(3)
    return found


def _block(name: str, cross: bool) -> str:
    """A name within a block of the official code; `cross` for the regressor's."""
    for ours, theirs in (CROSS if cross else PLAIN).items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def _split(name: str) -> tuple[str, str, str]:
    """`encoder.blocks.3.norm1.weight` -> encoder, 3, norm1.weight; without a block the index is empty."""
    part, _, rest = name.partition(".")
    if rest.startswith("blocks."):
        _, index, rest = rest.split(".", 2)
        return part, index, rest
    return part, "", rest


def _official(name: str) -> str:
    part, index, rest = _split(name)
    if index:
        inner = _block(rest, cross=part == "regressor")
        lists = {
            "encoder": "encoder.blocks",
            "regressor": "regresser.regressor_blocks",
            "decoder": "decoder.decoder_blocks",
        }
        return f"{lists[part]}.{index}.{inner}"
    if part == "regressor":
        for ours, theirs in (("adapter.0.", "encoder_to_regresser."), ("adapter.1.", "encoder_to_regresser_norm.")):
            if rest.startswith(ours):
                return theirs + rest.removeprefix(ours)
        return rest if rest == "mask_token" else f"regresser.{rest}"
    return name


def _official_v1(name: str) -> str:
    name = _official(name)
    for new, old in (
        ("regresser.regressor_blocks.", "pretext_neck.regressor_blocks."),
        ("decoder.decoder_blocks.", "pretext_neck.decoder_blocks."),
        ("regresser.norm.", "pretext_neck.norm."),
        ("decoder.norm.", "pretext_neck.norm2."),
        ("decoder.head.", "pretext_neck.head."),
        ("encoder_to_regresser", "encoder_to_decoder"),
    ):
        if name.startswith(new):
            return old + name.removeprefix(new)
    return name


def _mmpretrain(name: str) -> str:
    part, index, rest = _split(name)
    if index:
        inner = _block(rest, cross=part == "regressor")
        if part == "regressor":
            inner = inner.replace("norm1_q.", "norm1_q_cross.").replace("norm1_k.", "norm1_k_cross.")
            inner = inner.replace("norm1_v.", "norm1_v_cross.").replace("mlp_cross.", "mlp.")
        else:
            inner = inner.replace("norm1.", "ln1.").replace("norm2.", "ln2.")
        inner = inner.replace("mlp.fc1.", "ffn.layers.0.0.").replace("mlp.fc2.", "ffn.layers.1.")
        lists = {"encoder": "backbone.layers", "regressor": "neck.regressors", "decoder": "neck.decoders"}
        return f"{lists[part]}.{index}.{inner}"
    names = {"encoder.norm.": "backbone.ln1.", "encoder.patch_embed.proj.": "backbone.patch_embed.projection."}
    names |= {"encoder.": "backbone.", "regressor.norm.": "neck.norm_regressor.", "regressor.": "neck."}
    names |= {"decoder.norm.": "neck.norm_decoder.", "decoder.": "neck."}
    for ours, theirs in names.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise KeyError(name)
