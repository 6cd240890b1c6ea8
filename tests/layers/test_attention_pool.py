"""Test the pooling layers against torch.nn.MultiheadAttention and slow loops, with gradients, in float64."""

import pytest
import torch
from torch import nn

from vislab.layers.attention_pool import AttentivePool, EfficientPool

DIM, TOKENS, BATCH = 24, 7, 3


@pytest.fixture
def tokens():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(BATCH, TOKENS, DIM, dtype=torch.float64, generator=generator, requires_grad=True)


def randomized(pool: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in pool.double().parameters():
        nn.init.normal_(parameter, std=0.3)
    return pool


def test_attentive_equals_multihead_attention(tokens):
    pool = randomized(AttentivePool(dim=DIM, num_heads=4))
    peer = nn.MultiheadAttention(DIM, 4, batch_first=True, dtype=torch.float64)
    with torch.no_grad():
        peer.in_proj_weight.copy_(torch.cat([pool.q.weight, pool.k.weight, pool.v.weight]))
        peer.in_proj_bias.copy_(torch.cat([pool.q.bias, torch.zeros(DIM), pool.v.bias]))
        peer.out_proj.load_state_dict(pool.proj.state_dict())
    query = pool.norm_q(pool.query).expand(BATCH, 1, DIM)
    expected = peer(query, pool.norm_k(tokens), pool.norm_v(tokens))[0][:, 0]
    found = pool(tokens)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)
    weight = torch.randn_like(found)
    wanted = torch.autograd.grad((expected * weight).sum(), [tokens, pool.query])
    given = torch.autograd.grad((found * weight).sum(), [tokens, pool.query])
    assert all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(given, wanted, strict=True))


def test_attentive_starts_with_the_mean_of_the_values(tokens):
    pool = AttentivePool(dim=DIM, num_heads=4).double()
    values = pool.proj(pool.v(pool.norm_v(tokens)))
    assert torch.allclose(pool(tokens), values.mean(dim=1), atol=1e-12)
    pool(tokens).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in pool.parameters())


def test_efficient_equals_a_slow_loop(tokens):
    pool = randomized(EfficientPool(dim=DIM, num_queries=4, out_dim=12))
    rows = []
    for image in tokens:
        slices = []
        for j in range(4):
            scores = torch.stack([token @ pool.queries[j] / DIM**0.5 for token in image])
            weights = scores.exp() / scores.exp().sum()
            values = [(pool.value @ token)[3 * j : 3 * j + 3] for token in image]
            slices.append(sum(w * v for w, v in zip(weights, values, strict=True)))
        rows.append(torch.cat(slices))
    assert torch.allclose(pool(tokens), torch.stack(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [lambda: AttentivePool(dim=10, num_heads=4), lambda: EfficientPool(dim=10)])
def test_widths_that_do_not_divide_are_refused(make):
    with pytest.raises(ValueError, match="not divisible"):
        make()
