"""Test the relaxed network: roundings, interpolated costs against exact ones, gradients, and the rounded segment."""

import numpy as np
import pytest
import torch

from vislab.systems.hnerv.codec.content import dequantize
from vislab.systems.hnerv.codec.entropy import fit_model
from vislab.systems.hnerv.codec.relaxed import (
    RelaxedSegment,
    SegmentCosts,
    TensorCosts,
    differences,
    noisy_round,
    soft_round,
    straight_through,
)
from vislab.systems.hnerv.model import HNeRVDecoder


def test_soft_rounding_goes_from_identity_to_rounding():
    x = torch.linspace(-2.4, 2.4, 97)
    torch.testing.assert_close(soft_round(x, 50.0), x, rtol=0, atol=1e-3)
    inner = x[((x - x.floor() - 0.5).abs() > 0.05)]
    torch.testing.assert_close(soft_round(inner, 0.01), inner.round(), rtol=0, atol=1e-3)
    fixed = torch.arange(-4, 5) / 2
    torch.testing.assert_close(soft_round(fixed, 0.2), fixed, rtol=0, atol=1e-6)


def test_noise_is_drawn_from_the_generator():
    x = torch.full((2000,), 0.5)
    one, other = (noisy_round(x, 0.3, 0.2, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert one.mean().item() == pytest.approx(0.5, abs=0.03) and one.std() > 0.2


def test_straight_through_rounds_with_the_gradient_of_the_identity():
    x = torch.tensor([0.4, 0.6, -1.7], requires_grad=True)
    y = straight_through(x)
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert y.tolist() == [0.0, 1.0, -2.0] and x.grad.tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("axes", [(), (1,)])
def test_costs_of_integers_are_exact_and_linear_between(axes):
    generator = np.random.default_rng(0)
    scales = np.array([0.5, 9.0, 30.0]).reshape(1, 3, 1)
    symbols = np.rint(generator.laplace(size=(40, 3, 20)) * scales).astype(np.int32)
    model = fit_model(symbols, axes)
    costs = TensorCosts(model, symbols.shape)
    assert (costs.rows is not None) == bool(axes)
    whole = torch.from_numpy(symbols).float()
    assert costs.bits(whole).item() == pytest.approx(model.bits(symbols), rel=1e-5)
    inside = whole.clamp(float(symbols.min()), float(symbols.max()) - 1)
    mixed = 0.75 * costs.bits(inside) + 0.25 * costs.bits(inside + 1)
    assert costs.bits(inside + 0.25).item() == pytest.approx(mixed.item(), rel=1e-5)


def test_costs_pull_toward_cheap_symbols_and_beyond_the_table():
    symbols = np.random.default_rng(1).laplace(scale=2, size=4000).round().astype(np.int32)
    costs = TensorCosts(fit_model(symbols), symbols.shape)
    x = torch.tensor([-1000.0, -3.3, 3.3, 1000.0, float(symbols.max()) + 2.5], requires_grad=True)
    costs.bits(x).backward()
    assert x.grad[1] < 0 < x.grad[2] and x.grad[4] > 0
    assert costs.bits(x.detach()).isfinite()


@pytest.mark.parametrize("frames, section", [(1, 4), (4, 4), (5, 4), (9, 3), (3, 1)])
def test_differences_restore_the_embeddings(frames, section):
    embeddings = torch.randn(frames, 2, 1, 1)
    first, later = differences(embeddings, section)
    assert len(first) == -(-frames // section) and len(first) + len(later) == frames
    rest, restored = list(later), []
    for t in range(frames):
        restored.append(first[t // section] if t % section == 0 else restored[-1] + rest.pop(0))
    torch.testing.assert_close(torch.stack(restored), embeddings)


def relaxed(frames=6, section=4):
    torch.manual_seed(0)
    decoder = HNeRVDecoder(strides=(5, 2), widths=(12, 10, 8), kernels=(1, 3), embed_dim=8)
    steps = {name: p.detach().std() / 8 for name, p in decoder.named_parameters()}
    return decoder, RelaxedSegment(decoder, torch.randn(frames, 8, 1, 2), steps, torch.full((1, 8, 1, 1), 0.1), section)


def test_the_segment_decodes_to_what_was_trained():
    _, module = relaxed()
    weights, embeddings = module.scaled()
    with torch.no_grad():
        trained = module.decode([w.round() for w in weights], embeddings.round())
    segment = module.segment()
    network = segment.spec.network()
    network.load_state_dict(dequantize(segment.weights))
    with torch.no_grad():
        stored = network(torch.from_numpy(segment.embeddings.values()))
    torch.testing.assert_close(trained, stored, rtol=0, atol=1e-6)
    assert segment.section == 4 and segment.frames == 6


def test_small_steps_give_the_network_itself():
    decoder, module = relaxed()
    weights, embeddings = module.scaled()
    with torch.no_grad():
        image = module.decode(weights, embeddings)
        torch.testing.assert_close(image, decoder(module.embeddings), rtol=0, atol=1e-5)


def test_everything_gets_a_gradient_from_the_bits():
    _, module = relaxed()
    costs = SegmentCosts(module.segment())
    weights, embeddings = module.scaled()
    bits = costs.bits(weights, embeddings)
    bits.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert (
        sum(p.grad.sum() for p in module.log_steps) < 0 and module.log_embedding_steps.grad.sum() < 0
    )  # larger steps, fewer bits
    rounded = costs.bits([w.round() for w in weights], embeddings.round()).item()
    side = costs.exact_bits(module.segment()) - rounded
    assert 0 < side < 8 * 16 * 10
    again = SegmentCosts(module.segment(), costs.models)
    assert again.bits(weights, embeddings).item() == bits.item()


def test_one_frame_has_no_differences():
    _, module = relaxed(frames=1)
    costs = SegmentCosts(module.segment())
    assert len(costs.costs) == len(module.names) + 1
    assert costs.bits(*module.scaled()).item() > 0
