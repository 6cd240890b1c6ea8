"""Test that each scheduler can be saved, restored bit for bit, and replayed from the start of the run."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

import vislab.engine  # noqa: F401
from vislab.engine.resume.optim_state import OptimizationState, optimizer_settings, schedule_settings, schedule_states
from vislab.io.checkpoint import load_checkpoint, save_checkpoint
from vislab.io.serialize import from_plain, to_plain
from vislab.registry import PARAM_SCHEDULERS as OURS

ARGUMENTS = {
    "CosineAnnealing": {"T_max": 12},
    "CosineRestart": {"periods": [4, 4, 4], "restart_weights": [1, 0.5, 0.25], "eta_min": 0.0},
    "Exponential": {"gamma": 0.9},
    "MultiStep": {"milestones": [3, 8]},
    "OneCycle": {"eta_max": 0.2, "total_steps": 12},
    "Poly": {"power": 0.9},
    "ReduceOnPlateau": {"monitor": "error", "rule": "less", "patience": 1},
    "Step": {"step_size": 5},
}
NAMES = [n for n in sorted(PARAM_SCHEDULERS.module_dict) if n.endswith(("LR", "Momentum"))] + ["WarmupCosineLR"]
ADAMW, SGD = torch.optim.AdamW, lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def build(name: str, optimizer, lr: float = 0.1, **changes):
    model = torch.nn.Linear(2, 2)
    wrapper = OptimWrapper(optimizer([{"params": [p]} for p in model.parameters()], lr=lr))
    settings = {"optimizers": optimizer_settings(wrapper, model)}
    arguments = next((a for kind, a in ARGUMENTS.items() if name.startswith(kind)), {}) | changes
    registry = OURS if name == "WarmupCosineLR" else PARAM_SCHEDULERS
    plateau = name.startswith("ReduceOnPlateau")
    schedulers = [registry.build({"type": name, "optimizer": wrapper, "by_epoch": plateau, "end": 12} | arguments)]
    return wrapper, schedulers, settings | {"schedules": schedule_settings(schedulers)}


def advance(wrapper, schedulers, first: int, last: int) -> list:
    """Step from `first` to `last`; the groups' settings after each step."""
    seen = []
    for step in range(first, last):
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step(*[{"error": abs(step - 4.0)}] if type(scheduler).__name__.startswith("Reduce") else [])
        seen.append([{k: copy.copy(v) for k, v in g.items() if k != "params"} for g in wrapper.param_groups])
    return seen


def saved(wrapper, schedulers, settings, path) -> dict:
    checkpoint = {"optimizer": wrapper.state_dict(), "param_schedulers": schedule_states(schedulers)}
    save_checkpoint(to_plain(checkpoint | {"settings": settings}), path)
    return from_plain(load_checkpoint(path))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("optimizer", [ADAMW, SGD], ids=["AdamW", "SGD"])
@pytest.mark.parametrize("name", NAMES)
def test_restored_bit_for_bit(tmp_path, name, optimizer):
    whole = build(name, optimizer)
    expected = advance(*whole[:2], 0, 11)
    first = build(name, optimizer)
    advance(*first[:2], 0, 6)
    second = build(name, optimizer)
    state = OptimizationState(*second, saved(*first, tmp_path / "x.pth"))
    state.check()
    assert state.load_optimizers() == [] and state.schedule_changes() == []
    state.load_schedules()
    assert advance(*second[:2], 6, 11) == expected[6:]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("optimizer", [ADAMW, SGD], ids=["AdamW", "SGD"])
@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith(("ReduceOnPlateau", "OneCycle"))])
def test_another_first_value_is_as_if_it_had_been_there_from_the_start(tmp_path, name, optimizer):
    whole = build(name, optimizer, lr=0.7)
    expected = advance(*whole[:2], 0, 11)
    first = build(name, optimizer)
    advance(*first[:2], 0, 6)
    second = build(name, optimizer, lr=0.7)
    state = OptimizationState(*second, saved(*first, tmp_path / "x.pth"))
    said = state.load_optimizers() + state.schedule_changes()
    assert any("lr" in text and "0.1 -> 0.7" in text for text in said)
    state.follow_schedules(0, 6, None)
    assert advance(*second[:2], 6, 11) == expected[6:]


def test_plateau_is_kept_or_refused(tmp_path):
    first = build("ReduceOnPlateauLR", SGD)
    advance(*first[:2], 0, 6)
    second = build("ReduceOnPlateauLR", SGD, patience=4)
    state = OptimizationState(*second, saved(*first, tmp_path / "x.pth"))
    state.load_optimizers()
    assert state.schedule_changes() == ["ReduceOnPlateauLR.patience: 1 -> 4"]
    with pytest.raises(ValueError, match="depends on past validation results"):
        state.follow_schedules(6, 6, 1)
