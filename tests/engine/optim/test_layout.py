"""Test optimizer states saved with other implementations or memory formats, and fused optimizers."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from vislab.engine.resume.run_state import load_optimizer_state

OPTIMIZERS = {
    "AdamW": lambda p, fused: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.05, fused=fused),
    "Adam": lambda p, fused: torch.optim.Adam(p, lr=1e-2, fused=fused),
    "SGD": lambda p, fused: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4, fused=fused),
}


def make(name: str, fused: bool | None, layout=torch.contiguous_format):
    torch.manual_seed(0)
    # no bias before the norm: its gradient is rounding noise, which Adam would blow up to full steps
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)
    model = nn.Sequential(*layers).to(memory_format=layout)
    return model, OptimWrapper(optimizer=OPTIMIZERS[name](model.parameters(), fused))


def train(model, wrapper, first: int, last: int) -> torch.Tensor:
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        wrapper.update_params(model(torch.randn(2, 3, 8, 8, generator=generator)).square().mean())
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("saved, own", [(None, True), (True, None), (True, True)])
def test_a_resumed_run_keeps_its_implementation(name, saved, own):
    model, wrapper = make(name, saved)
    train(model, wrapper, 0, 3)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(wrapper.state_dict())
    expected = train(model, wrapper, 3, 6)
    resumed, other = make(name, own)
    resumed.load_state_dict(weights)
    load_optimizer_state(other, state)
    assert [group["fused"] for group in other.param_groups] == [own]
    assert not other.optimizer._optimizer_load_state_dict_pre_hooks
    difference = (train(resumed, other, 3, 6) - expected).abs().max()
    assert difference < 1e-5 if saved != own else difference == 0


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_of_another_memory_format_meets_its_own_weights(name):
    model, wrapper = make(name, True)
    train(model, wrapper, 0, 3)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(wrapper.state_dict())
    expected = train(model, wrapper, 3, 6)
    ends = {}
    for load in (load_optimizer_state, OptimWrapper.load_state_dict):
        resumed, other = make(name, True, torch.channels_last)
        resumed.load_state_dict(weights)
        load(other, copy.deepcopy(state))
        ends[load] = (train(resumed, other, 3, 6) - expected).abs().max()
    assert ends[load_optimizer_state] < 1e-5
    assert ends[OptimWrapper.load_state_dict] > 1e-4  # what torch alone does: see the module's docstring


def test_several_optimizers():
    (_, one), (_, two) = make("AdamW", True), make("SGD", None)
    wrappers = OptimWrapperDict(one=one, two=two)
    load_optimizer_state(wrappers, OptimWrapperDict(one=make("AdamW", None)[1], two=make("SGD", True)[1]).state_dict())
    assert one.param_groups[0]["fused"] is True and two.param_groups[0]["fused"] is None


def test_other_groups_are_refused():
    with pytest.raises(ValueError, match="different number of parameter groups"):
        model = make("SGD", True)[0]
        groups = [{"params": [p]} for p in model.parameters()]
        load_optimizer_state(make("SGD", True)[1], torch.optim.SGD(groups, lr=0.1).state_dict())


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("clip", [False, True])
def test_fused_updates_under_a_loss_scaler(name, clip):
    """Scaled gradients, clipped or not, give the same weights; one that overflowed changes nothing."""
    ends = []
    for fused in (None, True):
        model, wrapper = make(name, fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        for step in range(4):
            generator = torch.Generator().manual_seed(step)
            scaler.scale(model(torch.randn(2, 3, 8, 8, generator=generator)).square().mean()).backward()
            if step == 2:
                model[0].weight.grad[0, 0, 0, 0] = float("inf")
                before = copy.deepcopy(model.state_dict())
            if clip:
                scaler.unscale_(wrapper.optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(wrapper.optimizer)
            scaler.update()
            wrapper.zero_grad()
            if step == 2:
                assert all(torch.equal(p, before[key]) for key, p in model.named_parameters())
        assert scaler.get_scale() == 2.0**15
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert (ends[0] - ends[1]).abs().max() < 1e-5


@pytest.mark.parametrize("reduce", ["local", "deferred"])
def test_fused_updates_with_tract_and_rates_by_layer(reduce):
    """Gradients keep their weights' memory order, which a fused update relies on, also through TrAct."""
    from vislab.systems.tract.apply import apply_tract, precondition

    ends = []
    for fused in (None, True):
        model, _ = make("AdamW", fused, torch.channels_last)
        apply_tract(model[0], 0.1, reduce)
        groups = [{"params": model[0].parameters(), "lr": 1e-3}, {"params": model[3].parameters(), "weight_decay": 0.0}]
        optimizer = torch.optim.AdamW(groups, lr=1e-2, fused=fused)
        for step in range(3):
            generator = torch.Generator().manual_seed(step)
            model(torch.randn(2, 3, 8, 8, generator=generator)).square().mean().backward()
            if reduce == "deferred":
                precondition(model[0])
            assert all(p.grad.stride() == p.stride() for p in model.parameters() if p.ndim == 4)
            optimizer.step()
            optimizer.zero_grad()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert (ends[0] - ends[1]).abs().max() < 1e-5


def test_gradients_brought_back_have_their_weights_memory_order():
    """Those of a started accumulation window, saved while the model was contiguous."""
    from types import SimpleNamespace

    from vislab.engine.hooks.pending_gradients import PendingGradientsHook

    model, _ = make("SGD", True)
    model(torch.ones(2, 3, 8, 8)).square().mean().backward()
    saved = {name: p.grad for name, p in model.named_parameters()}
    other, _ = make("SGD", True, torch.channels_last)
    PendingGradientsHook()._put_back(SimpleNamespace(model=other, world_size=1), [saved])
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter.grad, saved[name]) and parameter.grad.stride() == parameter.stride()
