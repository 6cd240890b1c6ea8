"""Test conversion of weights: three layouts, the encoder alone, what is ignored, refused or warned of."""

import pytest
import torch

from tests.helpers.cae import perturb, small_cae
from tests.helpers.cae_names import foreign_state
from tests.helpers.cae_peer import build_peer, copy_weights, repository
from vislab.errors import CheckpointError, ConfigError
from vislab.models.encoders.vit import ViT
from vislab.systems.cae import CAE, PixelTarget
from vislab.zoo import load_foreign

LAYOUTS = ["official", "official_v1", "mmpretrain"]
WIDE = {"official": 24, "official_v1": 24, "mmpretrain": 16}  # of the regressor; mmpretrain has one width


def encoder(**settings) -> ViT:
    given = {"img_size": 16, "patch_size": 4, "dim": 16, "depth": 2, "num_heads": 2, "init_values": 0.5}
    return ViT(**given | settings)


def model(width: int = 16, seed: int = 0) -> CAE:
    torch.manual_seed(seed)
    cae = small_cae(regressor_dim=width, encoder=encoder())
    perturb(cae) if seed == 0 else None
    return cae


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    return all(x == y and torch.equal(p, q) for (x, p), (y, q) in pairs)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_whole_models(layout, prefix, logged):
    source, target = model(WIDE[layout]), model(WIDE[layout], seed=1)
    state = {prefix + name: value for name, value in foreign_state(source, layout).items()}
    report = load_foreign(target, {"model": state, "epoch": 3})
    assert report.layout == layout and not (report.missing or report.unexpected or report.mismatched)
    assert same(source, target) and "differs from" not in logged()
    copy = "alignment_encoder" if layout == "official" else "teacher"
    assert report.ignored[copy] == len(source.encoder.state_dict()) + 1
    assert "ignored: " in str(report) and copy in str(report)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_encoder_of_a_whole_file(layout):
    """`encoder` within `alignment_encoder` or `teacher` is not taken for the encoder."""
    source, cae, alone = model(), model(seed=1), encoder()
    state = foreign_state(source, layout)
    before = cae.decoder.head.weight.clone()
    load_foreign(cae, state, part="encoder")
    assert same(source.encoder, cae.encoder) and torch.equal(before, cae.decoder.head.weight)
    report = load_foreign(alone, state)
    assert same(source.encoder, alone) and not report.missing and not report.unexpected


@pytest.mark.parametrize("layout", ["official", "mmpretrain"])
def test_published_files_hold_the_encoder_only(layout):
    source, cae = model(), model(seed=1)
    kept = "backbone." if layout == "mmpretrain" else "encoder."
    state = {name: value for name, value in foreign_state(source, layout).items() if name.startswith(kept)}
    report = load_foreign(cae, state, part="encoder")
    assert same(source.encoder, cae.encoder) and not report.missing
    assert all(name.startswith(("regressor.", "decoder.")) for name in load_foreign(cae, state).missing)


def test_unknown_names_are_reported():
    cae = model(seed=1)
    state = foreign_state(model(), "official") | {
        "encoder.blocks.0.rel_pos_bias": torch.ones(2),
        "extra.x": torch.ones(1),
    }
    assert load_foreign(cae, state).unexpected == ["encoder.blocks.0.rel_pos_bias", "extra.x"]
    with pytest.raises(CheckpointError, match="1 weights are unknown, e.g. encoder.blocks.0.rel_pos_bias"):
        load_foreign(cae, state, part="encoder")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"dim": 24}, r"of another shape, e.g. encoder.cls_token \(1, 1, 16\) instead of \(1, 1, 24\)"),
        ({"depth": 3}, "weights are missing, e.g. encoder.blocks.2"),
        ({"depth": 1}, "weights are unknown, e.g. encoder.blocks.1"),
        ({"init_values": None}, "weights are unknown, e.g. encoder.blocks.0.ls1.gamma"),
        ({"patch_size": 8}, "of another shape, e.g. encoder.patch_embed.proj.weight"),
    ],
)
def test_an_encoder_of_another_size_is_refused_and_nothing_is_loaded(settings, words):
    cae = small_cae(encoder=encoder(**settings))
    before = {name: value.clone() for name, value in cae.state_dict().items()}
    with pytest.raises(CheckpointError, match=words):
        load_foreign(cae, foreign_state(model(), "official"), part="encoder")
    assert all(torch.equal(before[name], value) for name, value in cae.state_dict().items())


def test_unknown_parts_and_layouts():
    with pytest.raises(ConfigError, match="part='head' of CAE has no weights; its parts are .*encoder"):
        load_foreign(model(), {"x": torch.ones(1)}, part="head")
    with pytest.raises(ConfigError, match="layout='hf' is not one of auto, official, official_v1, mmpretrain, vislab"):
        load_foreign(model(), {}, layout="hf")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_positions_are_warned_of(layout, caplog):
    state = foreign_state(model(), layout)
    name = "backbone.pos_embed" if layout == "mmpretrain" else "encoder.pos_embed"
    load_foreign(encoder(), state)
    assert not caplog.records
    state[name] = state[name] + 2e-4
    load_foreign(encoder(), state)
    assert f"{name} differs from the sine positions by up to 0.0002" in caplog.text
    state[name] = state[name][:, :-1]
    load_foreign(encoder(), state)
    assert "15 positions of width 16, which are not compared" in caplog.text


@pytest.mark.peer
@pytest.mark.parametrize("width", [24, 48])
def test_state_dict_of_the_official_model(width):
    """Of the real code, not of names written here."""
    if repository() is None:
        pytest.skip("CAE_REPO is not set: a checkout of the official repository")
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 4, "init_values": 0.1}
    peer = build_peer(**sizes, classes=192, regressor_dim=width, regressor_depth=2, decoder_depth=1)
    parts = {"regressor": {"dim": width, "depth": 2, "num_heads": 12}, "decoder": {"depth": 1, "num_heads": 12}}
    ours, expected = (
        CAE(
            encoder=ViT(img_size=32, patch_size=8, dim=24, depth=2, num_heads=4, init_values=0.1),
            **parts,
            target=PixelTarget(),
        )
        for _ in range(2)
    )
    copy_weights(expected, peer)
    report = load_foreign(ours, {"model": peer.state_dict()})
    assert report.layout == "official" and not (report.missing or report.unexpected or report.mismatched)
    assert same(ours, expected)
    assert set(report.ignored) == {"alignment_encoder", "encoder", "rd_pos_embed"}
