"""Test the ViT for subsets of patches: against timm, against a masked full encoder, positions, refused settings."""

import pytest
import timm
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.helpers.cae import masks, positions
from vislab.errors import CheckpointError, ConfigError
from vislab.models.encoders.vit import ViT
from vislab.ops.patches import take_rows

SMALL = {"img_size": (12, 20), "patch_size": 4, "dim": 16, "depth": 3, "num_heads": 2, "init_values": 0.5}


def build(**settings) -> ViT:
    torch.manual_seed(0)
    model = ViT(**SMALL | settings).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 12, 20, generator=torch.Generator().manual_seed(0)).double()


def visible(count: int, kind: str) -> Tensor:
    """(count, n) ascending indices of a 3x5 grid."""
    if kind == "block":
        mask = torch.zeros(count, 3, 5, dtype=torch.bool)
        mask[:, 1:, 1:4] = True
    else:
        mask = masks(count, 6)
    return torch.stack([(~m).nonzero().flatten() for m in mask.flatten(1)])


@pytest.mark.parametrize("kind", ["random", "block"])
def test_a_subset_is_the_full_encoder_with_masked_keys(kind):
    """The full-length encoder, with -inf on the keys of masked patches, compared at class token and visible rows."""
    model, x, ids = build(), images(), visible(2, kind)
    allowed = torch.zeros(2, 16, dtype=torch.bool)
    allowed[:, 0] = True
    allowed.scatter_(1, ids + 1, True)
    bias = torch.zeros(2, 1, 1, 16).double().masked_fill(~allowed[:, None, None], -torch.inf)
    h = model.embed(model.patches(x))
    for block in model.blocks:
        y, attn = block.norm1(h), block.attn
        q, k, v = (
            (y @ weight.T + bias_).unflatten(2, (2, 8)).transpose(1, 2)
            for weight, bias_ in zip(attn.qkv.weight.chunk(3), (attn.q_bias, 0, attn.v_bias), strict=True)
        )
        out = ((q @ k.transpose(2, 3)) / 8**0.5 + bias).softmax(dim=3) @ v
        h = h + block.ls1.gamma * attn.proj(out.transpose(1, 2).flatten(2))
        h = h + block.ls2.gamma * block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(h))))
    rows = torch.cat((torch.zeros(2, 1, dtype=torch.int64), ids + 1), dim=1)
    torch.testing.assert_close(model(x, ids), take_rows(model.norm(h), rows), atol=1e-10, rtol=0)


def test_all_ids_are_no_ids():
    model = build()
    torch.testing.assert_close(model(images(), torch.arange(15).expand(2, -1)), model(images()))


def test_equals_timm_with_the_same_tensors():
    """timm's ViT with the names of ours, the three biases joined and the sine table as its positions."""
    model = build()
    other = timm.create_model(
        "vit_tiny_patch16_224", img_size=(12, 20), patch_size=4, embed_dim=16, depth=3, num_heads=2, init_values=0.5,
        num_classes=0, global_pool="token",
    ).double().eval()  # fmt: skip
    state = {}
    for name, tensor in model.state_dict().items():
        if not name.endswith(("q_bias", "v_bias")):
            state[name] = tensor
    for i, block in enumerate(model.blocks):
        joined = torch.cat((block.attn.q_bias, torch.zeros(16), block.attn.v_bias))
        state[f"blocks.{i}.attn.qkv.bias"] = joined
    other.load_state_dict(state | {"pos_embed": model.pos_embed}, strict=True)
    torch.testing.assert_close(model(images()), other.forward_features(images()), atol=1e-10, rtol=0)


@pytest.mark.parametrize("size", [(12, 20), (56, 56)])
def test_positions(size):
    model = ViT(**SMALL | {"img_size": size})
    assert model.pos_embed[0, 0].abs().max() == 0
    table = positions(size[0] // 4, size[1] // 4, 16).float()
    torch.testing.assert_close(model.pos_embed[0, 1:], table, atol=1e-5, rtol=0)
    assert "pos_embed" not in model.state_dict() and model.num_patches == model.grid[0] * model.grid[1]


def test_order_of_ids_is_the_order_of_tokens():
    model, ids = build(), visible(2, "random")
    order = torch.randperm(ids.shape[1], generator=torch.Generator().manual_seed(3))
    expected = model(images(), ids)[:, 1:][:, order]
    torch.testing.assert_close(model(images(), ids[:, order])[:, 1:], expected)


@pytest.mark.parametrize("change", [{"grad_checkpointing": True}, {"recompute": True}, {}], ids=str)
def test_other_ways_to_compute_it_give_the_same_gradients(change, monkeypatch):
    first, second = build().float().train(), build(**change).float().train()
    first(images().float()).square().sum().backward()
    if not change:
        monkeypatch.setattr(
            F,
            "scaled_dot_product_attention",
            lambda q, k, v, attn_mask: (q @ k.transpose(2, 3) / q.shape[3] ** 0.5).softmax(dim=3) @ v,
        )
    second(images().float()).square().sum().backward()
    for (name, a), b in zip(first.named_parameters(), second.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() <= 1e-5 * a.grad.abs().max(), name


def test_stochastic_depth_can_be_left_out():
    model = build(drop_path_rate=0.9).train()
    patches = model.patches(images())
    assert [round(block.drop_path_rate, 6) for block in model.blocks] == [0, 0.45, 0.9]
    still = model.encode(patches, drop=False)
    assert torch.equal(still, model.eval().encode(patches))
    assert not torch.equal(still, model.train().encode(patches))


def test_initial_weights():
    torch.manual_seed(0)
    model = ViT(img_size=32, patch_size=4, dim=192, depth=1, num_heads=12, init_values=0.1)
    limit = (6 / (192 + 3 * 192)) ** 0.5  # Xavier over the fused projection
    assert model.blocks[0].attn.qkv.weight.abs().max() <= limit < 1.01 * model.blocks[0].attn.qkv.weight.abs().max()
    assert model.patch_embed.proj.weight.abs().max() <= 0.02 and 0.0105 < model.patch_embed.proj.weight.std() < 0.0111
    larger = ViT(img_size=32, patch_size=4, dim=192, depth=1, num_heads=12, patch_std=0.2).patch_embed.proj.weight
    assert 0.19 < larger.abs().max() <= 0.2 and 0.105 < larger.std() < 0.111
    assert 0 < model.cls_token.abs().max() <= 0.02
    assert (model.blocks[0].ls1.gamma == 0.1).all() and model.blocks[0].mlp.fc1.bias.abs().max() == 0
    assert ViT(**SMALL | {"init_values": None}).blocks[0].ls1 is None


def test_layers_of_parameters():
    ids = build().layer_ids()
    assert set(dict(build().named_parameters())) - set(ids) == {"norm.weight", "norm.bias"}
    assert {ids["patch_embed.proj.weight"], ids["cls_token"]} == {0}
    assert ids["blocks.0.norm1.weight"] == 1 and ids["blocks.2.ls2.gamma"] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"img_size": 30}, r"img_size=\(30, 30\) is not divisible by patch_size=4"),
        ({"img_size": (12, 0)}, "is not divisible"),
        ({"num_heads": 3}, "dim=16 is not divisible by num_heads=3"),
        ({"dim": 18, "num_heads": 2}, "dim=18 is not divisible by 4"),
        ({"depth": 0}, "depth=0: at least one block"),
        ({"patch_std": 0.0}, "patch_std=0.0 is not above 0"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ViT(**SMALL | settings)


def test_layer_scales_are_not_left_out():
    scaled, plain = (ViT(**SMALL | {"init_values": value}) for value in (0.5, None))
    with pytest.raises(CheckpointError, match=r"e.g. blocks.0.ls1.gamma, the model has none: set init_values"):
        plain.load_state_dict(scaled.state_dict(), strict=False)
    scaled.load_state_dict(plain.state_dict(), strict=False)


def test_images_of_another_size_are_refused():
    with pytest.raises(ConfigError, match=r"images are \(3, 20, 12\), expected \(3, 12, 20\)"):
        build()(torch.zeros(1, 3, 20, 12).double())


def test_relative_position_bias():
    """Zero at the start, so that pre-trained weights give the same tokens; then against explicit attention."""
    plain, model = build(), build(rel_pos_bias=True)
    weights = {k: v for k, v in model.state_dict().items() if "rel_pos" not in k}
    plain.load_state_dict(weights, strict=True)
    tables = [block.attn.rel_pos.relative_position_bias_table for block in model.blocks]
    assert [tuple(table.shape) for table in tables] == [(5 * 9 + 3, 2)] * 3
    assert not any(table.any() for table in ViT(**SMALL, rel_pos_bias=True).blocks[0].attn.rel_pos.parameters())
    with torch.no_grad():
        for table in tables:
            table.zero_()
    x = images()
    torch.testing.assert_close(model(x), plain(x), atol=1e-12, rtol=0)
    block, tokens = model.blocks[0], torch.randn(2, 16, 16).double()
    with torch.no_grad():
        tables[0].normal_()
    bias = torch.zeros(2, 16, 16).double()  # (heads, N, N)
    for i, j in ((i, j) for i in range(15) for j in range(15)):
        down, right = i // 5 - j // 5, i % 5 - j % 5
        bias[:, i + 1, j + 1] = tables[0][(down + 2) * 9 + right + 4].detach()
    from_class, to_class, itself = tables[0][-3:].detach()
    bias[:, 0, :], bias[:, :, 0] = from_class[:, None], to_class[:, None]
    bias[:, 0, 0] = itself
    attn = block.attn
    q, k, v = (
        (tokens @ weight.T + bias_).unflatten(2, (2, 8)).transpose(1, 2)
        for weight, bias_ in zip(attn.qkv.weight.chunk(3), (attn.q_bias, 0, attn.v_bias), strict=True)
    )
    out = ((q @ k.transpose(2, 3)) / 8**0.5 + bias).softmax(dim=3) @ v
    expected = attn.proj(out.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attn(tokens, None), expected, atol=1e-10, rtol=0)
    model(x).square().sum().backward()
    assert all(table.grad.abs().sum() > 0 for table in tables)
    with pytest.raises(ConfigError, match="whole images"):
        model(x, visible(2, "block"))
