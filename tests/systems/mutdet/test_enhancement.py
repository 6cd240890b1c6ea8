"""Test mutual enhancement: parameters of the paper, padded batches, no objects, order of objects, gradients."""

import pytest
import torch

from vislab.layers.mlp import MLP
from vislab.systems.mutdet.enhancement import EnhancementLayer, MutualEnhancement, similarity


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_at_the_size_of_the_paper():
    assert count(EnhancementLayer(dim=256, num_heads=8, hidden_dim=2048)) == 1_842_432
    assert count(MutualEnhancement()) == 6_119_168
    assert count(MLP(dim=256, hidden_dim=256, out_dim=256, num_layers=2)) == 131_584


@pytest.fixture
def module():
    torch.manual_seed(0)
    made = MutualEnhancement(dim=16, depth=3, num_heads=4, hidden_dim=32, embed_dim=24).double()
    for p in made.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return made


def batch(counts, tokens: int = 11):
    generator = torch.Generator().manual_seed(1)
    most = max(counts)
    objects = torch.randn(len(counts), most, 16, generator=generator, dtype=torch.float64)
    filled = torch.arange(most) < torch.tensor(counts)[:, None]
    memory = torch.randn(len(counts), tokens, 16, generator=generator, dtype=torch.float64)
    valid = torch.rand(1, tokens, 1, generator=generator) < 0.8
    return objects, filled, memory, valid


def test_a_padded_batch_equals_image_by_image(module):
    counts = (3, 0, 7, 1)
    objects, filled, memory, valid = batch(counts)
    inside = torch.ones(4, 11, dtype=torch.bool)
    inside[2, 8:] = False
    o, f = module(objects, filled, memory, valid, inside)
    assert o.isfinite().all() and f.isfinite().all()
    for i, n in enumerate(counts):
        rows = inside[i]
        alone_o, alone_f = module(
            objects[i : i + 1, :n], filled[i : i + 1, :n], memory[i : i + 1, rows], valid[:, rows]
        )
        torch.testing.assert_close(o[i, :n], alone_o[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(f[i, rows], alone_f[0], rtol=0, atol=1e-12)


def test_without_any_object_features_are_only_normalized(module):
    objects, filled, memory, valid = batch((0, 0))
    o, f = module(objects, filled, memory, valid)
    features = module.input_norm(module.input(memory.masked_fill(~valid, 0)))
    for layer in module.layers:
        features = layer.norm4(features)
    assert o.shape == (2, 0, 16) and torch.equal(f, features)


def test_order_of_objects(module):
    objects, filled, memory, valid = batch((5,))
    order = torch.tensor([3, 0, 4, 1, 2])
    o, f = module(objects, filled, memory, valid)
    o2, f2 = module(objects[:, order], filled, memory, valid)
    torch.testing.assert_close(o2, o[:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(f2, f, rtol=0, atol=1e-12)
    assert (o - objects).abs().max() > 0.1


def test_a_layer_in_the_order_of_the_paper(module):
    """O1 = LN(O + SA(O)), O2 = LN(O1 + CA(O1, F)), O3 = LN(O2 + MLP(O2)), F = LN(F + CA(F, O3)), by torch's modules."""
    layer, (objects, _, memory, _) = module.layers[0], batch((5,))

    def attend(part, query, key):
        peer = torch.nn.MultiheadAttention(16, 4, batch_first=True).double()
        peer.load_state_dict(part.state_dict())
        return peer(query, key, key)[0]

    o1 = layer.norm1(objects + attend(layer.self_attn, objects, objects))
    o2 = layer.norm2(o1 + attend(layer.from_features, o1, memory))
    o3 = layer.norm3(o2 + layer.mlp.layers[1](layer.mlp.layers[0](o2).relu()))
    features = layer.norm4(memory + attend(layer.from_objects, memory, o3))
    found = layer(objects, memory, None, None, torch.ones(1, 1, 1))
    torch.testing.assert_close(found, (o3, features), rtol=0, atol=1e-12)


def test_gradients_reach_both_inputs(module):
    objects, filled, memory, valid = batch((3, 2))
    objects.requires_grad_(), memory.requires_grad_()
    o, f = module(objects, filled, memory, valid)
    f.square().sum().backward()
    assert (objects.grad.abs().sum(-1) > 0).equal(filled)  # padding has none
    assert (memory.grad.abs().sum(-1) > 0).equal(valid[..., 0].expand(2, -1))


def test_similarity():
    objects, filled, memory, _ = batch((3, 0, 7))
    found = similarity(memory, objects, filled)
    cosine = torch.nn.functional.cosine_similarity(memory[:, :, None], objects[:, None], dim=-1)
    torch.testing.assert_close(found[0], cosine[0, :, :3].amax(1))
    torch.testing.assert_close(found[2], cosine[2].amax(1))
    assert (found[1] == 0).all() and (similarity(memory, objects[:, :0], filled[:, :0]) == 0).all()
