"""Test that the logged gradient norm is that before clipping."""

import pytest
import torch
from mmengine.optim import OptimWrapper

from vislab.engine.message_hub import MessageHub


def wrapper(**clip) -> tuple[OptimWrapper, torch.nn.Linear]:
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    made = OptimWrapper(torch.optim.SGD(layer.parameters(), lr=0.1), clip_grad=clip)
    made.message_hub = MessageHub("clipping")
    return made, layer


def test_the_norm_is_clipped_and_logged():
    made, layer = wrapper(max_norm=0.5)
    before = [p.detach().clone() for p in layer.parameters()]
    made.update_params(100 * layer(torch.ones(1, 3)).square().sum())
    moved = torch.cat([(p - b).flatten() for p, b in zip(layer.parameters(), before, strict=True)]) / 0.1
    assert moved.norm().item() == pytest.approx(0.5, rel=1e-4)
    logged = made.message_hub.get_scalar("train/grad_norm").current()
    assert isinstance(logged, float) and logged > 10


def test_values_are_clipped_and_no_norm_is_logged():
    made, layer = wrapper(type="value", clip_value=0.5)
    made.update_params(100 * layer(torch.ones(1, 3)).square().sum())
    assert "train/grad_norm" not in made.message_hub.log_scalars


def test_nothing_to_clip():
    made, layer = wrapper(max_norm=0.5)
    layer.requires_grad_(False)
    made._clip_grad()
    assert not made.message_hub.log_scalars
