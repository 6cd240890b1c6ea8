"""Test the validation of the parts of a checkpoint needed to resume."""

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict

from vislab.engine.resume.run_state import check_run_state, check_settings, load_optimizer_state, reading_part
from vislab.errors import CheckpointError, DataError

NAN = float("nan")
RIGHT = {
    "meta": {"epoch": 2, "iter": 12, "seed": 3}, "optimizer": {},
    "message_hub": {"log_scalars": {}, "runtime_info": {"a": 1}, "resumed_keys": {}}, "param_schedulers": [],
}  # fmt: skip


def test_right_parts_pass():
    check_run_state(RIGHT, "x.pth")
    check_run_state(RIGHT | {"random_state": [{}], "param_schedulers": {"one": []}}, "x.pth")
    check_run_state(RIGHT | {"meta": {"epoch": 0, "iter": 0}}, "x.pth")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"meta": []}, "meta is a list, not a dict"),
        ({"meta": {"epoch": -1, "iter": 1}}, r"meta\['epoch'\] is -1"),
        ({"meta": {"epoch": True, "iter": 1}}, r"meta\['epoch'\] is True"),
        ({"meta": {"epoch": 1}}, r"meta\['iter'\] is None"),
        ({"meta": {"epoch": 1, "iter": 1, "seed": "x"}}, r"meta\['seed'\] is 'x'"),
        ({"message_hub": RIGHT["message_hub"] | {"log_scalars": []}}, r"message_hub\['log_scalars'\]"),
        ({"message_hub": RIGHT["message_hub"] | {"runtime_info": {7: 1}}}, "the key 7"),
        ({"param_schedulers": 7}, "param_schedulers"),
        ({"random_state": {}}, "random_state"),
        ({"optimizer": 3, "message_hub": None}, "optimizer is a int.*message_hub is a NoneType|message_hub.*optimizer"),
    ],
)
def test_wrong_parts_are_named(changes, message):
    with pytest.raises(CheckpointError, match=f"x.pth cannot be resumed from: (.*){message}"):
        check_run_state(RIGHT | changes, "x.pth")


def test_missing_parts_are_named():
    with pytest.raises(CheckpointError, match="it has no message_hub, optimizer"):
        check_run_state({"meta": {}}, "best_x.pth")


@pytest.mark.parametrize("prefix", ["encoder.", ""])  # of a published and of an exported file
def test_a_file_of_one_part_is_named_with_its_remedy(prefix):
    own = ["encoder.norm.weight", "encoder.norm.bias", "regressor.mask_token", "decoder.head.weight"]
    weights = {f"{prefix}norm.weight": torch.zeros(2), f"{prefix}norm.bias": torch.zeros(2)}
    message = "holds the encoder alone.*without decoder, regressor and .*optimizer.*Resume from .*tools/probe.py"
    with pytest.raises(CheckpointError, match=message):
        check_run_state({"state_dict": weights}, "encoder.safetensors", own)
    whole = weights | {"regressor.mask_token": torch.zeros(2), "encoder.norm.weight": torch.zeros(2)}
    with pytest.raises(CheckpointError, match="it has no meta"):
        check_run_state({"state_dict": whole}, "best_x.pth", own)


def test_what_is_raised_while_reading_becomes_one_message():
    for error, text in ((ValueError("too\n  many."), "too many\\."), (KeyError("a"), "KeyError: 'a'")):
        with (
            pytest.raises(CheckpointError, match=f"x.pth does not fit this optimizer: {text}"),
            reading_part("x.pth", "optimizer"),
        ):
            raise error
    with pytest.raises(DataError, match="mine"), reading_part("x.pth", "optimizer"):
        raise DataError("mine")


def wrapper(width: int = 2, **settings) -> OptimWrapper:
    layer = torch.nn.Linear(3, width)
    made = OptimWrapper(torch.optim.AdamW(layer.parameters(), lr=0.1, **settings))
    layer(torch.ones(1, 3)).sum().backward()
    made.step()
    return made


def test_an_optimizer_gets_its_state_back():
    one, other = wrapper(), wrapper()
    for entry in one.optimizer.state.values():
        entry["exp_avg"].fill_(7)
    load_optimizer_state(other, copy.deepcopy(one.state_dict()))
    assert all((entry["exp_avg"] == 7).all() for entry in other.optimizer.state.values())
    both = OptimWrapperDict(a=wrapper(), b=wrapper())
    load_optimizer_state(both, OptimWrapperDict(a=one, b=wrapper()).state_dict())
    assert all((entry["exp_avg"] == 7).all() for entry in both["a"].optimizer.state.values())
    assert not any((entry["exp_avg"] == 7).any() for entry in both["b"].optimizer.state.values())


def spoil(state: dict, place: str, value) -> dict:
    state = copy.deepcopy(state)
    if place in state["param_groups"][0]:
        state["param_groups"][0][place] = value
    else:
        state["state"][0][place] = value
    return state


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ("exp_avg", torch.zeros(3, 2), r"exp_avg of a parameter of shape \(2, 3\) has shape \(3, 2\)"),
        ("exp_avg_sq", "x", "exp_avg_sq of a parameter"),
        ("step", torch.tensor(NAN), "step of a parameter"),
        ("lr", "fast", "lr is 'fast'"),
        ("betas", (0.9, "x"), "betas (holds|contains|has) 'x'"),
        ("betas", 0.9, "betas is '0.9'"),
    ],
)
def test_states_of_another_form_are_refused(place, value, message):
    target = wrapper()
    with pytest.raises(ValueError, match=message):
        load_optimizer_state(target, spoil(wrapper().state_dict(), place, value))


def test_settings_keep_their_kind():
    own = {"lr": 0.1, "flag": True, "betas": (0.9, 0.99), "name": "a", "extra": None}
    check_settings(own, {"lr": torch.tensor(0.2), "flag": 3, "betas": [1, 2], "name": 5, "more": []}, "x")
    for wrong in ({"lr": None}, {"lr": NAN}, {"lr": [1]}, {"betas": "ab"}, {"betas": [float("inf"), 1]}, {"name": {}}):
        with pytest.raises(ValueError, match=f"x: {next(iter(wrong))} "):
            check_settings(own, own | wrong, "x")
